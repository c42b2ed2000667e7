// The errors for invalid calls of the readers, writers and figures.
import { afterAll, describe, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  convertCheckpoint,
  drawCartoonFace,
  eachSample,
  grid,
  hashFile,
  hashWeights,
  ImageDataset,
  listImages,
  openCheckpoint,
  openTokens,
  plotCurves,
  Sampler,
  sideBySide,
  tokenGrid,
  type TokenHeader,
  type TokenRecord,
  TokenWriter,
  writeCartoonFaces,
  writeFlax,
  writeSafetensors,
  writeTorch,
} from "../../data/index.ts";
import { preset } from "../../data/formats/config.ts";

const folder = await mkdtemp(join(tmpdir(), "tessera-wrong-"));
afterAll(() => rm(folder, { recursive: true }));
/** A value that passes only without a type check. */
const wrong = (value: unknown) => value as never;
const at = (name: string) => join(folder, name);
const dot = { width: 1, height: 1, pixels: new Uint8Array(3) };
const first = async (items: AsyncIterable<unknown>) => {
  for await (const item of items) return item;
};
const dataset = (options: object) => new ImageDataset(["a.png"], wrong({ size: 8, ...options }));
const config = (changes: unknown) => preset("faces", wrong(changes));

const synchronous: [string, () => unknown, string][] = [
  [
    "a misspelt field",
    () => config({ nembed: 2 }),
    'config: there is no option "nembed", use embedDim, nEmbed',
  ],
  [
    "taming's own spelling",
    () => config({ ddconfig: { ch_mult: [1] } }),
    'config: ddconfig: there is no option "ch_mult", use zChannels',
  ],
  [
    "a misspelt loss",
    () => config({ lossconfig: { discloss: "hinge" } }),
    'config: lossconfig: there is no option "discloss"',
  ],
  [
    "an unknown loss",
    () => config({ lossconfig: { discLoss: "wgan" } }),
    'lossconfig.discLoss is "wgan", expected "hinge" or',
  ],
  [
    "a weight that is not a number",
    () => config({ lossconfig: { discWeight: NaN } }),
    "config: lossconfig.discWeight is NaN, expected a number >= 0",
  ],
  ["an unknown preset", () => preset(wrong("f16")), 'preset: there is no "f16", use f16-16384 or faces'],
  [
    "no size",
    () => new ImageDataset(["a.png"], wrong({})),
    "ImageDataset: size is undefined, expected a whole number >= 1",
  ],
  [
    "an unknown crop",
    () => dataset({ crop: "none" }),
    'ImageDataset: crop is "none", expected "center" or "random"',
  ],
  [
    "a misspelt option",
    () => dataset({ mirror: true }),
    'ImageDataset: there is no option "mirror", use size, crop, flip',
  ],
  [
    "a path instead of a list of paths",
    () => new ImageDataset(wrong("a.png"), { size: 8 }),
    'ImageDataset: the list of paths is "a.png", expected a list',
  ],
  [
    "a seed that is not a whole number",
    () => new Sampler(3, { seed: 0.5 }),
    "Sampler: seed is 0.5, expected a whole number >= 0",
  ],
  ["no columns", () => grid([dot], { columns: 0 }), "grid: columns is 0, expected a whole number >= 1"],
  [
    "an invalid grey level",
    () => grid([dot], { background: 256 }),
    "grid: background is 256, expected a grey level from 0 to 255",
  ],
  [
    "RGBA instead of RGB",
    () => grid([{ ...dot, pixels: new Uint8Array(4) }]),
    "grid: 4 bytes for 1x1 RGB, expected 3; fromRgba()",
  ],
];

const header: TokenHeader = {
  format: "tessera-tokens",
  version: 1,
  factor: 8,
  grid: [1, 2],
  vocabulary: 16,
  range: "signed",
  attentionOrder: "taming",
  preprocessing: "none",
  model: "faces.safetensors",
  weights: "00",
  source: ["faces/"],
  shard: null,
};
const record: TokenRecord = { file: "a.png", caption: null, encoding: [1, 2], grid: [1, 2] };
const open = (changes: object) => TokenWriter.open(at("tokens.jsonl"), { ...header, ...changes });
const add = async (changes: object) => {
  const writer = await TokenWriter.open(at("added.jsonl"), header);
  try {
    await writer.add([{ ...record, ...changes }]);
  } finally {
    await writer.close();
  }
};
const faces = await openCheckpoint("models/faces.safetensors");
afterAll(() => faces.close());

const asynchronous: [string, () => Promise<unknown>, string][] = [
  [
    "a path instead of a list of sources",
    () => first(eachSample(wrong("faces/"))),
    'eachSample: the list of sources is "faces/", expected a list',
  ],
  [
    "no source",
    () => listImages(wrong(undefined)),
    "listImages: the source is undefined, expected a path or a list",
  ],
  [
    "half a batch",
    () => first(dataset({}).batches(0.5)),
    "batches: the batch size is 0.5, expected a whole number >= 1",
  ],
  [
    "a misspelt option",
    () => first(dataset({}).batches(1, wrong({ epoch: 1 }))),
    'batches: there is no option "epoch", use epochs',
  ],
  [
    "labels that are not a list",
    () => sideBySide([[dot]], { labels: wrong("a") }),
    'sideBySide: labels is "a", expected a list of strings',
  ],
  [
    "tiles of size 0",
    () => tokenGrid([1], [1, 1], { tile: 0 }),
    "tokenGrid: tile is 0, expected a whole number >= 1",
  ],
  [
    "too much smoothing",
    () => plotCurves([{ series: [] }], { smoothing: 1 }),
    "plotCurves: smoothing is 1, expected a number from 0 to below 1",
  ],
  [
    "a face of size 0",
    () => drawCartoonFace(1, 0),
    "drawCartoonFace: the size is 0, expected a whole number >= 1",
  ],
  [
    "half a face",
    () => writeCartoonFaces(at("faces"), 0.5, 8, 1),
    "writeCartoonFaces: the count is 0.5, expected a whole number",
  ],
  [
    "a negative start token",
    () => openTokens("a.jsonl", { bos: -1 }),
    "openTokens: bos is -1, expected a whole number >= 0",
  ],
  [
    "no weights",
    () => open({ weights: undefined }),
    "TokenWriter.open: the header: weights is undefined, expected a string",
  ],
  [
    "a grid of three",
    () => open({ grid: [1, 2, 3] }),
    "grid is [1, 2, 3], expected [rows, columns], both above 0, or null",
  ],
  [
    "a misspelt field",
    () => open({ captions: true }),
    'the header: there is no option "captions", use format, version',
  ],
  [
    "a token outside the vocabulary",
    () => add({ encoding: [1, 16] }),
    'TokenWriter.add: "a.png": token 16 at 1 is not in 0..15',
  ],
  ["half a token", () => add({ encoding: [1, 0.5] }), "token 0.5 at 1 is not in 0..15"],
  ["too few tokens", () => add({ encoding: [1] }), "1 tokens do not fill a grid of 1x2"],
  ["another grid", () => add({ grid: [2, 1] }), "its grid is 2x1, but the header says 1x2"],
  ["a number instead of a name", () => add({ file: 1 }), "TokenWriter.add: 1: file is 1, expected a string"],
  [
    "safetensors with a torch ending",
    () => writeSafetensors(at("a.ckpt"), []),
    "does not end in .safetensors; convertCheckpoint() writes",
  ],
  [
    "torch with a safetensors ending",
    () => writeTorch(at("a.safetensors"), new Map()),
    "does not end in .ckpt or .pt or .pth or .bin",
  ],
  ["Flax without an ending", () => writeFlax(at("a"), [], preset("faces")), "writeFlax: "],
  [
    "no config",
    () => convertCheckpoint(faces, at("a.ckpt"), wrong({})),
    "convertCheckpoint: config is undefined, expected an object, or null",
  ],
  [
    "an unknown type",
    () => convertCheckpoint(faces, at("a.ckpt"), wrong({ config: null, dtype: "f8" })),
    'dtype is "f8", expected "f32"',
  ],
  [
    "a function instead of options",
    () => hashFile("a", wrong(() => {})),
    "hashFile: the options are the function (...) => ..., expected an",
  ],
];

describe("wrong arguments", () => {
  for (const [name, call, message] of synchronous) {
    test(`${name}: ${message}`, () => expect(call).toThrow(message));
  }
  for (const [name, call, message] of asynchronous) {
    test(`${name}: ${message}`, async () => await expect(call()).rejects.toThrow(message));
  }

  test("write nothing", async () => {
    expect((await readdir(folder)).filter((name) => !name.endsWith(".jsonl.partial"))).toEqual([]);
  });
});

describe("long calls", () => {
  test("stop when they are aborted, and leave no file", async () => {
    const stop = new AbortController(), { signal } = stop;
    const onProgress = (bytes: number, total: number) => {
      if (bytes > total / 2) stop.abort(new Error("enough"));
    };
    const options = { config: preset("faces"), signal, onProgress };
    await expect(convertCheckpoint(faces, at("half.ckpt"), options)).rejects.toThrow("enough");
    await expect(hashFile(faces.path, { signal })).rejects.toThrow("enough");
    await expect(hashWeights(faces, { signal })).rejects.toThrow("enough");
    expect((await readdir(folder)).filter((name) => name.includes("half"))).toEqual([]);
  });

  test("give the same hash of the weights in every format", async () => {
    const seen: number[] = [];
    const hash = await hashWeights(faces, { onProgress: (bytes, total) => seen.push(bytes / total) });
    expect(hash).toMatch(/^[0-9a-f]{64}$/);
    expect(seen.at(-1)).toBe(1);
    const [path] = await convertCheckpoint(faces, at("faces.ckpt"), {
      config: preset("faces"),
      dtype: "f32",
    });
    expect(await hashWeights(path)).toBe(hash);
  });
});
