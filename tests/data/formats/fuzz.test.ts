// Every reader against seeded mutations of every fixture. The result must be tensors of the right shape or a one-line
// FormatError, in bounded memory and within the test's time limit. TESSERA_FUZZ=10000 sets the number of mutations per
// file (default 150).
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  flattenTensors,
  FormatError,
  guessConfig,
  memorySource,
  readCheckpoint,
  type TensorToWrite,
  trainingState,
  unwrapOmegaconf,
  writeSafetensors,
  writeTorch,
} from "../../../data/index.ts";
import { mutate, mutationRandom } from "../../support/mutations.ts";

const mutations = Number(process.env.TESSERA_FUZZ ?? 150);
setDefaultTimeout(60_000 + 60 * mutations);

/** The largest number of values that a file may make the reader hold in total. */
const maxValues = 2 ** 27;

const folder = await mkdtemp(join(tmpdir(), "tessera-fuzz-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const values = (n: number) => Float32Array.from({ length: n }, (_, i) => i / 7);
const tensors = ([["encoder.conv_in.weight", [4, 3, 3, 3]], ["a.bias", [5]], ["none", [0, 2]], [
  "optimizer.0.exp_avg.a.bias",
  [5],
], ["optimizer.0.exp_avg_sq.a.bias", [5]]] as const)
  .map(([name, shape]): TensorToWrite => {
    return { name, shape, dtype: "f32", data: () => values(shape.reduce<number>((a, b) => a * b, 1)) };
  });
const written = {
  safetensors: join(folder, "small.safetensors"),
  torch: join(folder, "small.ckpt"),
};
await writeSafetensors(written.safetensors, tensors, {
  config: "{}",
  state: '{"step":1,"adamSteps":[{"a.bias":1},{}]}',
});
await writeTorch(
  written.torch,
  new Map([["state_dict", new Map(tensors.map((tensor) => [tensor.name, tensor]))]]),
);

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../fixtures/${name}`, import.meta.url)));
const files: [string, Uint8Array][] = [
  ...["misc", "pl108", "pl140_omegaconf"].flatMap((name) =>
    ["zip", "legacy"].map((kind) => `micro_${name}_${kind}.ckpt`)
  ).map((name): [string, Uint8Array] => [name, fixture(name)]),
  ...["micro_flax_new.msgpack", "micro_flax_pre036.msgpack"].map((
    name,
  ): [string, Uint8Array] => [name, fixture(name)]),
  ["safetensors by Tessera", new Uint8Array(await readFile(written.safetensors))],
  ["torch zip by Tessera", new Uint8Array(await readFile(written.torch))],
];

/** Uses the file as Tessera does. @returns whether it was refused. Errors other than FormatError are thrown on */
async function isRefused(bytes: Uint8Array): Promise<boolean> {
  try {
    const file = await readCheckpoint(memorySource("x", bytes));
    unwrapOmegaconf(file.root);
    let count = 0;
    for (const t of [...file.tensors.values(), ...flattenTensors(file.root).values()]) {
      const size = t.shape.reduce((a, b) => a * b, 1);
      count += size;
      if (count > maxValues) throw new Error(`${count} values in a file of ${bytes.length} bytes`);
      if ((await t.read()).length !== size) {
        throw new Error(`a tensor of shape [${t.shape}] has other values`);
      }
    }
    try {
      guessConfig(file);
    } catch (error) {
      if (!(error instanceof Error) || error.name !== "Error") throw error; // it says what is missing
    }
    await trainingState(file);
    return false;
  } catch (error) {
    if (!(error instanceof FormatError)) throw error;
    if (!/^x: [^\p{Cc}]{10,}; [^\p{Cc}]{5,}$/u.test(error.message)) {
      throw new Error(`no clear line: ${error.message}`);
    }
    return true;
  }
}

describe(`${mutations} mutations of`, () => {
  for (const [i, [name, sound]] of files.entries()) {
    test(name, async () => {
      // the optimizers of Lightning's fixtures need more weights than these have, which is reported at the very end
      expect(await isRefused(sound)).toBe(name.startsWith("micro_pl"));
      const other = files[(i + 3) % files.length][1];
      let refused = 0;
      for (let seed = 0; seed < mutations; seed++) {
        const bytes = mutate(sound, other, mutationRandom(seed * 64 + i));
        try {
          if (await isRefused(bytes)) refused++;
        } catch (error) {
          throw new Error(`mutation ${seed} of ${name}: ${(error as Error).stack ?? error}`);
        }
      }
      expect(refused).toBeGreaterThan(mutations / 20);
    });
  }
});
