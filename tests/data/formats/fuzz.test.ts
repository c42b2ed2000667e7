// Every reader of checkpoints against seeded mutations of every fixture. The result must be a FormatError of one line, or the
// tensors that an oracle reads from the same changed bytes (tests/support/oracle). TESSERA_FUZZ=10000 sets the number of
// mutations per file (default 150).
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  type CheckpointFile,
  flattenTensors,
  FormatError,
  formatInspectReport,
  guessConfig,
  inspect,
  memorySource,
  readCheckpoint,
  type StoredTensor,
  type TensorToWrite,
  trainingState,
  unwrapOmegaconf,
  writeFlax,
  writeSafetensors,
  writeTorch,
} from "../../../data/index.ts";
import { preset } from "../../../data/formats/config.ts";
import { mutate, mutationRandom } from "../../support/mutations.ts";
import { flax, safetensors, type Tensors, torchLegacy, torchZip } from "../../support/oracle/checkpoints.ts";
import { differences, Verdicts } from "../../support/oracle/verdict.ts";

const mutations = Number(process.env.TESSERA_FUZZ ?? 150);
setDefaultTimeout(60_000 + 100 * mutations);

/** The largest number of values that a file may make the reader hold in total. */
const maxValues = 2 ** 27;

const folder = await mkdtemp(join(tmpdir(), "tessera-fuzz-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const numbers = (n: number) => Float32Array.from({ length: n }, (_, i) => i / 7);
const tensors = ([["encoder.conv_in.weight", [4, 3, 3, 3]], ["a.bias", [5]], ["none", [0, 2]], [
  "optimizer.0.exp_avg.a.bias",
  [5],
], ["optimizer.0.exp_avg_sq.a.bias", [5]]] as const)
  .map(([name, shape]): TensorToWrite => {
    return { name, shape, dtype: "f32", data: () => numbers(shape.reduce<number>((a, b) => a * b, 1)) };
  });
const more = (["f16", "bf16", "f64", "i64", "u8", "bool"] as const).map((dtype): TensorToWrite => {
  const data = {
    f16: () => numbers(6),
    bf16: () => numbers(6),
    f64: () => Float64Array.from(numbers(6)),
    i64: () => new BigInt64Array(6).fill(-3n),
    u8: () => new Uint8Array(6).fill(200),
    bool: () => new Uint8Array(6).fill(1),
  }[dtype];
  return { name: `more.${dtype}`, shape: [2, 3], dtype, data };
});
const at = (name: string) => join(folder, name);
await writeSafetensors(at("small.safetensors"), [...tensors, ...more], {
  config: "{}",
  state: '{"step":1,"adamSteps":[{"a.bias":1},{}]}',
});
await writeTorch(
  at("small.ckpt"),
  new Map([["state_dict", new Map([...tensors, ...more].map((tensor) => [tensor.name, tensor]))]]),
);
await writeFlax(at("chunks.msgpack"), tensors.slice(0, 2), preset("faces"), 100);

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url)));
const written = async (name: string) => new Uint8Array(await readFile(at(name)));

type Oracle = (bytes: Uint8Array) => { tensors: Tensors; metadata?: Record<string, string> };
const only = (read: (bytes: Uint8Array) => Tensors): Oracle => (bytes) => ({ tensors: read(bytes) });
const oracles: Readonly<Record<CheckpointFile["format"], Oracle>> = {
  "torch-zip": only(torchZip),
  "torch-legacy": only(torchLegacy),
  safetensors,
  flax: only(flax),
};

const files: [string, Uint8Array][] = [
  ...["misc", "pl108", "pl140_omegaconf"].flatMap((name) =>
    ["zip", "legacy"].map((kind) => `micro_${name}_${kind}.ckpt`)
  ).map((name): [string, Uint8Array] => [name, fixture(name)]),
  ...["micro_flax_new.msgpack", "micro_flax_pre036.msgpack"].map((
    name,
  ): [string, Uint8Array] => [name, fixture(name)]),
  ["safetensors by Tessera", await written("small.safetensors")],
  ["torch zip by Tessera", await written("small.ckpt")],
  ["Flax in chunks by Tessera", await written("chunks.msgpack")],
];

/** Everything that the reader found, under the names of the oracles. */
function tensorsOf({ format, root, tensors }: CheckpointFile): Map<string, StoredTensor> {
  return format.startsWith("torch") ? flattenTensors(root) : tensors;
}

/** Uses the file as Tessera does, and compares it with the oracle. @returns null if it was refused */
async function judge(bytes: Uint8Array): Promise<string[] | "unjudged" | null> {
  let file: CheckpointFile;
  const found = new Map<string, StoredTensor>(), values = new Map<StoredTensor, ArrayLike<number | bigint>>();
  try {
    file = await readCheckpoint(memorySource("x", bytes));
    unwrapOmegaconf(file.root);
    let count = 0;
    for (const [name, t] of tensorsOf(file)) {
      const size = t.shape.reduce((a, b) => a * b, 1);
      count += size;
      if (count > maxValues) throw new Error(`${count} values in a file of ${bytes.length} bytes`);
      found.set(name, t);
      values.set(t, await t.read());
      if (values.get(t)!.length !== size) throw new Error(`a tensor of shape [${t.shape}] has other values`);
    }
    for (const t of file.tensors.values()) if (!values.has(t)) values.set(t, await t.read());
    try {
      guessConfig(file);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "Error") throw error; // it says what is missing
    }
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    if (!/^x: [^\p{Cc}]{10,}; [^\p{Cc}]{5,}$/u.test(error.message)) {
      throw new Error(`no clear line: ${error.message}`);
    }
    return null;
  }
  // the optimizers of a file may not fit, which is reported when they are asked for
  await trainingState(file).catch((error) => {
    if (!(error instanceof FormatError)) throw error;
  });
  if (/[^\P{Cc}\n]/u.test(formatInspectReport(await inspect(file)))) {
    throw new Error("a report with control characters");
  }
  let expected: ReturnType<Oracle>;
  try {
    expected = oracles[file.format](bytes);
  } catch {
    return "unjudged"; // the oracle cannot read it, so it cannot say what is right
  }
  const { metadata } = expected;
  const isSame = metadata === undefined || JSON.stringify(metadata) === JSON.stringify(file.metadata);
  return [...differences(found, values, expected.tensors), ...(isSame ? [] : ["the metadata differ"])];
}

describe(`${mutations} mutations of`, () => {
  for (const [i, [name, sound]] of files.entries()) {
    test(name, async () => {
      expect(await judge(sound)).toEqual([]);
      const other = files[(i + 3) % files.length][1], verdicts = new Verdicts();
      for (let seed = 0; seed < mutations; seed++) {
        const bytes = mutate(sound, other, mutationRandom(seed * 64 + i));
        try {
          verdicts.add(await judge(bytes));
        } catch (error) {
          throw new Error(`mutation ${seed} of ${name}: ${(error as Error).stack ?? error}`);
        }
      }
      verdicts.check(name, mutations);
    });
  }
});
