// safetensors (https://github.com/huggingface/safetensors): a JSON header with types, shapes and offsets, then the
// bytes of all tensors. This is the format in which Tessera saves.
import { shown } from "../../src/check.ts";
import { contiguousStrides, sizeOf } from "../../src/shape.ts";
import { parseJson, record } from "./json.ts";
import type { Sink } from "./sink.ts";
import { FormatError, type RandomAccess, readRange } from "./source.ts";
import {
  isCounts,
  itemSize,
  type StoredDType,
  type StoredTensor,
  storedTensor,
  type StoredValues,
} from "./stored_tensor.ts";
import { storedBytes, type TensorToWrite } from "./values.ts";

/** The header limit of the format's reference reader, 100 MB. */
const maxHeader = 100_000_000;

const names: Readonly<Record<StoredDType, string>> = {
  f32: "F32",
  f16: "F16",
  bf16: "BF16",
  f8e4m3: "F8_E4M3",
  f8e5m2: "F8_E5M2",
  f64: "F64",
  i64: "I64",
  u64: "U64",
  i32: "I32",
  u32: "U32",
  i16: "I16",
  u16: "U16",
  i8: "I8",
  u8: "U8",
  bool: "BOOL",
};
const dtypes = new Map(Object.entries(names).map(([dtype, name]) => [name, dtype as StoredDType]));

/** Whether a file that begins with `head` (at least 9 bytes) may be safetensors. */
export function isSafetensors(head: Uint8Array, byteLength: number): boolean {
  return head.length >= 9 && head[8] === 0x7b && headerLength(head) <= Math.max(byteLength, maxHeader);
}

function headerLength(head: Uint8Array): number {
  return Number(new DataView(head.buffer, head.byteOffset).getBigUint64(0, true));
}

/** @throws FormatError if the header is damaged, or tensors overlap, leave gaps or extend beyond the end. */
export async function readSafetensors(
  source: RandomAccess,
): Promise<{ tensors: Map<string, StoredTensor>; metadata: Record<string, string> }> {
  const corrupt = (what: string) => new FormatError(source.path, `corrupt safetensors file: ${what}`);
  const length = headerLength(await readRange(source, 0, 8, "the header"));
  if (length > maxHeader) throw corrupt(`a header of ${length} bytes (at most ${maxHeader})`);
  const header = parsedHeader(await readRange(source, 8, length, "the header"), corrupt);

  const tensors = new Map<string, StoredTensor>();
  let metadata: Record<string, string> = {};
  const ranges: { name: string; from: number; to: number }[] = [];
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") {
      metadata = textsIn(entry, corrupt);
      continue;
    }
    const description = record(entry);
    if (!description) throw corrupt(`tensor ${shown(name)} has no description`);
    const { dtype: label, shape, data_offsets: offsets } = description;
    const dtype = typeof label === "string" ? dtypes.get(label) : undefined;
    if (dtype === undefined) {
      throw new FormatError(
        source.path,
        `tensor ${shown(name)} has the type ${shown(label)}`,
        `convert it to one of ${[...dtypes.keys()].join(", ")}`,
      );
    }
    if (!Array.isArray(shape) || !Array.isArray(offsets) || offsets.length !== 2) {
      throw corrupt(`tensor ${shown(name)} has no shape or offsets`);
    }
    if (!isCounts(shape)) throw corrupt(`tensor ${shown(name)} has no valid shape`);
    const [from, to]: unknown[] = offsets;
    if (!isOffset(from) || !isOffset(to) || to - from !== sizeOf(shape) * itemSize[dtype]) {
      throw corrupt(
        `tensor ${shown(name)} of shape ${shown(shape)} does not fit the offsets ${shown(offsets)}`,
      );
    }
    const start = 8 + length + from;
    const storage = { dtype, length: sizeOf(shape), locate: () => Promise.resolve(start) };
    tensors.set(name, storedTensor(source, storage, 0, shape, contiguousStrides(shape)));
    ranges.push({ name, from, to });
  }
  checkCoverage(source, ranges, source.byteLength - 8 - length);
  return { tensors, metadata };
}

type Corrupt = (what: string) => FormatError;

function parsedHeader(bytes: Uint8Array, corrupt: Corrupt): Record<string, unknown> {
  let text: string, json: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw corrupt("its header is not UTF-8");
  }
  try {
    json = parseJson(text);
  } catch (error) {
    throw corrupt(`its header cannot be read: ${(error as Error).message}`);
  }
  const header = record(json);
  if (!header) throw corrupt("its header is not a JSON object");
  return header;
}

/** The metadata, which the format allows to be texts alone. */
function textsIn(entry: unknown, corrupt: Corrupt): Record<string, string> {
  const texts = record(entry ?? {});
  if (!texts || !Object.values(texts).every((value) => typeof value === "string")) {
    throw corrupt("its metadata is not an object of texts");
  }
  return texts as Record<string, string>;
}

function isOffset(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** The format requires that tensors cover the rest of the file without gaps or overlaps. */
function checkCoverage(
  source: RandomAccess,
  ranges: { name: string; from: number; to: number }[],
  byteLength: number,
): void {
  let covered = 0;
  for (const { name, from, to } of ranges.sort((a, b) => a.from - b.from || a.to - b.to)) {
    if (from !== covered) {
      throw new FormatError(
        source.path,
        `corrupt safetensors file: tensor ${
          shown(name)
        } starts at ${from}, but the one before it ends at ${covered}`,
      );
    }
    covered = to;
  }
  if (covered !== byteLength) {
    throw new FormatError(
      source.path,
      `${
        covered > byteLength ? "truncated" : "corrupt"
      } safetensors file: its tensors need ${covered} bytes, ` +
        `but there are ${byteLength}`,
    );
  }
}

/**
 * Writes a safetensors file. Values are requested in the order in which they are written, a few megabytes ahead.
 * @throws if a name occurs twice, or values do not match their shape and type.
 */
export async function writeSafetensorsTo(
  sink: Sink,
  tensors: Iterable<TensorToWrite>,
  metadata: Readonly<Record<string, string>> = {},
): Promise<void> {
  const list = [...tensors];
  // writing wide types first keeps every tensor aligned to its own size; the header keeps the given order
  const order = [...list].sort((a, b) => itemSize[b.dtype] - itemSize[a.dtype]);
  const offsets = new Map<string, [number, number]>();
  let end = 0;
  for (const { name, shape, dtype } of order) {
    if (offsets.has(name) || name === "__metadata__") {
      throw new Error(`safetensors: two tensors are named ${name}`);
    }
    const start = end;
    end += sizeOf(shape) * itemSize[dtype];
    offsets.set(name, [start, end]);
  }
  const header = Object.fromEntries([
    ...(Object.keys(metadata).length > 0 ? [["__metadata__", metadata] as const] : []),
    ...list.map(({ name, shape, dtype }) =>
      [name, { dtype: names[dtype], shape, data_offsets: offsets.get(name) }] as const
    ),
  ]);
  const json = new TextEncoder().encode(JSON.stringify(header));
  // the format recommends padding with spaces to a multiple of 8
  const prefix = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(prefix.buffer).setBigUint64(0, BigInt(prefix.length - 8), true);
  prefix.set(json, 8);

  await sink.write(prefix);
  for await (const [tensor, values] of eachRead(order)) {
    for (const bytes of storedBytes(tensor, values)) await sink.write(bytes);
  }
}

/** How many bytes are requested ahead of their turn: a GPU takes long to respond, even to small requests. */
const AHEAD = 4 * 2 ** 20;

/** Yields each tensor with its values, in order. */
async function* eachRead(
  tensors: readonly TensorToWrite[],
): AsyncGenerator<[TensorToWrite, StoredValues]> {
  const pending: Promise<StoredValues>[] = [];
  let asked = 0, bytes = 0;
  const bytesOf = ({ shape, dtype }: TensorToWrite) => sizeOf(shape) * itemSize[dtype];
  try {
    for (const [i, tensor] of tensors.entries()) {
      while (asked < tensors.length && (asked <= i || bytes + bytesOf(tensors[asked]) <= AHEAD)) {
        bytes += bytesOf(tensors[asked]);
        const values = Promise.resolve(tensors[asked++].data());
        values.catch(() => {}); // prevents an unhandled rejection; the error is thrown when the tensor's turn comes
        pending.push(values);
      }
      yield [tensor, await pending.shift()!];
      bytes -= bytesOf(tensor);
    }
  } finally {
    await Promise.allSettled(pending); // leaves no work running in the background
  }
}
