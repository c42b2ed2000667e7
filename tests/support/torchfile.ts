// Writes torch files byte by byte, valid ones and hostile ones that torch.save would never write.
import { Buffer } from "node:buffer";

/**
 * The pickled values that are not plain: a class or function by name, a call of one, and a persistent id.
 */
export class Global {
  readonly module: string;
  readonly name: string;

  constructor(module: string, name: string) {
    this.module = module;
    this.name = name;
  }
}
export class Call {
  readonly callee: Global;
  readonly args: Pickled[];
  readonly state?: Pickled;

  constructor(callee: Global, args: Pickled[], state?: Pickled) {
    this.callee = callee;
    this.args = args;
    this.state = state;
  }
}
export class Persistent {
  readonly id: Pickled[];

  constructor(id: Pickled[]) {
    this.id = id;
  }
}
export class Raw {
  readonly bytes: number[];

  constructor(bytes: number[]) {
    this.bytes = bytes;
  }
}
export type Pickled =
  | number
  | string
  | boolean
  | null
  | Pickled[]
  | Map<string, Pickled>
  | Global
  | Call
  | Persistent
  | Raw;

const text = (s: string) => [...Buffer.from(s)];
const uint32 = (n: number) => [...new Uint8Array(new Uint32Array([n]).buffer)];
const uint64 = (n: number) => [...new Uint8Array(new BigUint64Array([BigInt(n)]).buffer)];
const uint16 = (n: number) => [n & 255, n >> 8 & 255];

function value(v: Pickled): number[] {
  if (v === null) return [0x4e];
  if (typeof v === "boolean") return [v ? 0x88 : 0x89];
  if (typeof v === "string") return [0x58, ...uint32(text(v).length), ...text(v)];
  if (typeof v === "number") {
    return Number.isInteger(v)
      ? [0x8a, 8, ...new Uint8Array(new BigInt64Array([BigInt(v)]).buffer)]
      : float(v);
  }
  if (Array.isArray(v)) return [0x28, ...v.flatMap(value), 0x74];
  if (v instanceof Map) return [0x7d, 0x28, ...[...v].flatMap((pair) => pair.flatMap(value)), 0x75];
  if (v instanceof Global) return [0x63, ...text(`${v.module}\n${v.name}\n`)];
  if (v instanceof Persistent) return [...value(v.id), 0x51];
  if (v instanceof Raw) return v.bytes;
  const made = [...value(v.callee), ...value(v.args), 0x52];
  return v.state === undefined ? made : [...made, ...value(v.state), 0x62];
}

function float(v: number): number[] {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setFloat64(0, v);
  return [0x47, ...bytes];
}

/** A whole pickle of protocol 2. */
export function pickle(v: Pickled): Uint8Array {
  return Uint8Array.from([0x80, 2, ...value(v), 0x2e]);
}

/** A tensor as torch pickles it. */
export function tensorCall(
  key: string,
  numel: number,
  shape: Pickled[],
  stride: Pickled[],
  offset: Pickled = 0,
  storage = "FloatStorage",
): Call {
  const id = new Persistent(["storage", new Global("torch", storage), key, "cpu", numel]);
  const hooks = new Call(new Global("collections", "OrderedDict"), []);
  return new Call(new Global("torch._utils", "_rebuild_tensor_v2"), [
    id,
    offset,
    shape,
    stride,
    false,
    hooks,
  ]);
}

export interface ZipMember {
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly method?: number;
  /** Wrong values to write to the directory. */
  readonly claim?: { readonly length?: number; readonly packed?: number; readonly offset?: number };
  /** Sizes and offset in a zip64 extra field. */
  readonly wide?: boolean;
}

/** A zip archive; with `wide`, with zip64 end records too. */
export function zip(members: readonly ZipMember[], wide = false): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: number[] = [];
  let at = 0;
  for (const { name, bytes, method = 0, claim = {}, wide: wideEntry = false } of members) {
    const packed = claim.packed ?? bytes.length, length = claim.length ?? bytes.length;
    const offset = claim.offset ?? at;
    const local = Uint8Array.from([
      ...[0x50, 0x4b, 3, 4, 20, 0, 8, 8, ...uint16(method), 0, 0, 0, 0],
      ...[...uint32(0), ...uint32(0), ...uint32(0), ...uint16(name.length), 0, 0],
      ...text(name),
    ]);
    parts.push(local, bytes);
    at += local.length + bytes.length;
    const extra = wideEntry ? [1, 0, 24, 0, ...uint64(length), ...uint64(packed), ...uint64(offset)] : [];
    const or = (n: number) => uint32(wideEntry ? 0xffffffff : n);
    directory.push(
      ...[0x50, 0x4b, 1, 2, 45, 0, 45, 0, 8, 8, ...uint16(method), 0, 0, 0, 0, ...uint32(0)],
      ...[...or(packed), ...or(length), ...uint16(name.length), ...uint16(extra.length), 0, 0, 0, 0],
      ...[0, 0, 0, 0, 0, 0, ...or(offset), ...text(name), ...extra],
    );
  }
  const count = members.length;
  const end64 = [
    ...[0x50, 0x4b, 6, 6, ...uint64(44), 45, 0, 45, 0, ...uint32(0), ...uint32(0)],
    ...[...uint64(count), ...uint64(count), ...uint64(directory.length), ...uint64(at)],
    ...[0x50, 0x4b, 6, 7, ...uint32(0), ...uint64(at + directory.length), ...uint32(1)],
  ];
  const end = [
    ...[0x50, 0x4b, 5, 6, 0, 0, 0, 0],
    ...(wide ? [255, 255, 255, 255] : [...uint16(count), ...uint16(count)]),
    ...(wide ? [...uint32(0xffffffff), ...uint32(0xffffffff)] : [...uint32(directory.length), ...uint32(at)]),
    ...[0, 0],
  ];
  return Buffer.concat([...parts, Uint8Array.from([...directory, ...(wide ? end64 : []), ...end])]);
}

/** A torch zip with this object, and storages by key. */
export function torchZip(
  root: Pickled,
  storages: Readonly<Record<string, Uint8Array>> = {},
  folder = "archive",
): Uint8Array {
  return zip([
    { name: `${folder}/data.pkl`, bytes: pickle(root) },
    ...Object.entries(storages).map(([key, bytes]) => ({ name: `${folder}/data/${key}`, bytes })),
    { name: `${folder}/version`, bytes: Uint8Array.from(text("3\n")) },
  ]);
}

export function floatBytes(...values: number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}
