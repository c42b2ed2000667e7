// Every reader against seeded mutations of every fixture: a FormatError of one line or tensors of the right shape, in
// bounded time (the test's own limit) and memory, and nothing else. TESSERA_FUZZ=10000 sets how many mutations of each file (default 150).
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
} from "../data/formats/index.ts";
import { mulberry32 } from "./fill.ts";

const mutations = Number(process.env.TESSERA_FUZZ ?? 150);
setDefaultTimeout(60_000 + 60 * mutations);

/** A file may not make the reader hold more than this many values in all. */
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

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`fixtures/${name}`, import.meta.url)));
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

/** 32 random bits a call. */
function generator(seed: number): () => number {
  const next = mulberry32(seed);
  return () => next() * 2 ** 32;
}

/** Numbers that readers stumble over. */
const corners = [
  0,
  1,
  0x7f,
  0x80,
  0xff,
  0x7fff,
  0x8000,
  0xffff,
  0x7fffffff,
  0x80000000,
  0xfffffffe,
  0xffffffff,
];

/** Where structure lies: the first and last kilobytes more often than the tensors between them. */
function place(next: () => number, length: number): number {
  const edge = Math.min(length, 3000);
  const kind = next() % 4;
  return kind === 0 ? next() % edge : kind === 1 ? length - 1 - next() % edge : next() % length;
}

/** One to four changes: bytes, bits, wide numbers, pieces removed, repeated, swapped with another file's. */
function mutate(sound: Uint8Array, other: Uint8Array, next: () => number): Uint8Array {
  let bytes = sound.slice();
  for (let k = next() % 4; k >= 0; k--) {
    const at = place(next, bytes.length), length = 1 + next() % 40;
    const view = new DataView(bytes.buffer);
    switch (next() % 8) {
      case 0:
      case 1:
        bytes[at] = next() & 255;
        break;
      case 2:
        bytes[at] ^= 1 << next() % 8;
        break;
      case 3:
        if (at + 4 <= bytes.length) view.setUint32(at, corners[next() % corners.length], next() % 2 === 0);
        break;
      case 4:
        if (at + 8 <= bytes.length) {
          view.setBigUint64(at, BigInt(corners[next() % corners.length]) << 31n, true);
        }
        break;
      case 5: // a piece is lost
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...bytes.subarray(at + length)]);
        break;
      case 6: { // a piece comes twice
        const piece = bytes.subarray(at, at + length);
        bytes = Uint8Array.from([...bytes.subarray(0, at), ...piece, ...bytes.subarray(at)]);
        break;
      }
      default: // a piece of another file
        bytes.set(
          other.subarray(place(next, other.length)).subarray(0, Math.min(length, bytes.length - at)),
          at,
        );
    }
    if (bytes.length < 50) break;
  }
  return next() % 20 === 0 ? bytes.slice(0, next() % (bytes.length + 1)) : bytes;
}

/** Uses the file as Tessera does. @returns whether it was refused; anything but a FormatError is thrown on */
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
      if (!String(error).includes("not a whole VQGAN")) throw error;
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
      // Lightning's fixtures have fewer weights than their optimizers ask for, which is told at the very end
      expect(await isRefused(sound)).toBe(name.startsWith("micro_pl"));
      const other = files[(i + 3) % files.length][1];
      let refused = 0;
      for (let seed = 0; seed < mutations; seed++) {
        const bytes = mutate(sound, other, generator(seed * 64 + i));
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
