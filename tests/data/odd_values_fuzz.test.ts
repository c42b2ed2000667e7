// Files in JSON that are sound but for the type or the size of a value, as a program with a fault or a person with bad intent
// writes them. Each is used as Tessera uses it, and must end in an error of one line with the file's name, or in a result.
// TESSERA_FUZZ=10000 sets the number of mutations per file (default 150).
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { preset } from "../../data/formats/config.ts";
import { flaxConfigJson } from "../../data/formats/flax/write.ts";
import { pack } from "../../data/formats/flax/msgpack.ts";
import {
  configOf,
  FormatError,
  formatInspectReport,
  formatTensors,
  inspect,
  openCheckpoint,
  openTokens,
  trainingState,
} from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { mutationRandom, withOddValues } from "../support/mutations.ts";
import { header as tokenHeader, records } from "../support/token_files.ts";
import { trainedCheckpoint } from "../support/trained.ts";

const mutations = Number(process.env.TESSERA_FUZZ ?? 150);
setDefaultTimeout(60_000 + 100 * mutations);

const folder = await mkdtemp(join(tmpdir(), "tessera-odd-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

const { original } = await trainedCheckpoint(folder);
const weights = new Uint8Array(await readFile(original));
const headerLength = Number(new DataView(weights.buffer).getBigUint64(0, true));
const header = JSON.parse(new TextDecoder().decode(weights.subarray(8, 8 + headerLength)));

/** A safetensors file with the weights' data and another header. */
function withHeader(header: unknown): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(header)), data = weights.subarray(8 + headerLength);
  const file = new Uint8Array(8 + json.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(json.length), true);
  file.set(json, 8);
  file.set(data, 8 + json.length);
  return file;
}

/** A file in which one text of metadata, which is JSON itself, has odd values. */
const withMetadata = (name: string) => (next: () => number) => {
  const odd = withOddValues(JSON.parse(header.__metadata__[name]), next);
  return withHeader({ ...header, __metadata__: { ...header.__metadata__, [name]: JSON.stringify(odd) } });
};

async function useCheckpoint(path: string): Promise<void> {
  const report = await inspect(path);
  expect(`${formatInspectReport(report)}${formatTensors(report)}`.replaceAll("\n", "")).toMatch(
    /^[^\p{Cc}]*$/u,
  );
  const file = await openCheckpoint(path);
  try {
    await withoutSurprise(() => trainingState(file), path);
    await withoutSurprise(async () => void await Promise.resolve(configOf(file)), path);
    await withoutSurprise(async () => (await VQGAN.load(file, { withLoss: true })).dispose(), path);
  } finally {
    await file.close();
  }
}

async function useTokens(path: string): Promise<void> {
  for await (const { file, encoding } of (await openTokens(path)).records()) {
    expect([typeof file, encoding.every((n) => Number.isSafeInteger(n) && n >= 0)]).toEqual(["string", true]);
  }
}

/** Runs `use`. @throws if it ends in anything but an error of one line with the file's name; returns whether it was refused */
async function withoutSurprise(use: () => Promise<unknown>, path: string): Promise<boolean> {
  try {
    await use();
    return false;
  } catch (error) {
    const isKnown = error instanceof FormatError || error instanceof Error && error.constructor === Error;
    if (!isKnown) throw error;
    if (!/^[^\r\n]{10,2000}$/.test(error.message)) {
      throw new Error(`no clear line: ${JSON.stringify(error.message)}`);
    }
    // an index names other files, which lie beside it
    if (!error.message.includes(path.endsWith("index.json") ? folder : path)) {
      throw new Error(`without the file's name: ${error.message}`);
    }
    return true;
  }
}

const toBytes = (text: string) => new TextEncoder().encode(text);
const lines = (values: readonly unknown[]) =>
  toBytes(values.map((value) => JSON.stringify(value)).join("\n"));
const config = JSON.parse(flaxConfigJson(preset("faces")));
const index = { metadata: { total_size: 1 }, weight_map: { "encoder.conv_in.weight": "a.safetensors" } };

const files: [
  name: string,
  make: (next: () => number) => Uint8Array,
  use: (path: string) => Promise<unknown>,
][] = [
  ["header.safetensors", (next) => withHeader(withOddValues(header, next)), useCheckpoint],
  ["config.safetensors", withMetadata("config"), useCheckpoint],
  ["state.safetensors", withMetadata("state"), useCheckpoint],
  ["header.jsonl", (next) => lines([withOddValues(tokenHeader, next), ...records]), useTokens],
  ["rows.jsonl", (next) => lines([withOddValues([tokenHeader, ...records], next)].flat()), useTokens],
  ["config.json", (next) => toBytes(JSON.stringify(withOddValues(config, next))), async () => {
    const file = await openCheckpoint(at("flax_model.msgpack"));
    await file.close();
    await inspect(at("flax_model.msgpack"));
  }],
  [
    "model.safetensors.index.json",
    (next) => toBytes(JSON.stringify(withOddValues(index, next))),
    async (path) => await (await openCheckpoint(path)).close(),
  ],
];
await writeFile(at("a.safetensors"), weights);
await writeFile(at("flax_model.msgpack"), Uint8Array.from([...pack.map(1), ...pack.text("a"), 0xc0]));

describe(`${mutations} times odd values in`, () => {
  for (const [i, [name, make, use]] of files.entries()) {
    test(name, async () => {
      const path = at(name);
      let refused = 0;
      for (let seed = 0; seed < mutations; seed++) {
        await writeFile(path, make(mutationRandom(seed * 64 + i)));
        try {
          if (await withoutSurprise(() => use(path), path)) refused++;
        } catch (error) {
          throw new Error(`mutation ${seed} of ${name}: ${(error as Error).stack ?? error}`);
        }
      }
      if (mutations >= 1000) console.log(`odd values in ${name}: ${mutations} mutations, ${refused} refused`);
      await rm(path);
    });
  }
});
