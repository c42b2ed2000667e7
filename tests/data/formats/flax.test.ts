// Flax: the small fixtures that flax wrote, models there and back, arrays in chunks, and files that lie.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readFlax } from "../../../data/formats/flax/read.ts";
import { pack } from "../../../data/formats/flax/msgpack.ts";
import {
  guessConfig,
  inspect,
  memorySource,
  openCheckpoint,
  readCheckpoint,
  type TensorToWrite,
  toWrite,
  writeFlax,
} from "../../../data/index.ts";
import { VQGAN } from "../../../nn/vqgan.ts";
import { tensor } from "../../../src/index.ts";
import { fillState, golden, picture, tinyConfig } from "../../support/goldens.ts";
import { maxError, toNCHW } from "../../support/numbers.ts";

const fixture = (name: string) => fileURLToPath(new URL(`../../fixtures/${name}`, import.meta.url));

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "tessera-flax-"))));
afterAll(() => rm(folder, { recursive: true }));

interface Expected {
  state_dict: Record<string, { shape: number[]; first4: number[]; sum: number }>;
}

describe("small files by flax", () => {
  const { state_dict: expected }: Expected = golden("micro_expected");
  for (const name of ["micro_flax_new.msgpack", "micro_flax_pre036.msgpack"]) {
    test(`${name} has torch's tensors under taming's keys`, async () => {
      const file = await openCheckpoint(fixture(name));
      expect(file.format).toBe("flax");
      expect([...file.tensors.keys()].sort()).toEqual(
        Object.keys(expected).filter((key) => !key.startsWith("loss.")).sort(),
      );
      for (const [key, t] of file.tensors) {
        const { shape, first4, sum } = expected[key];
        const values = Array.from(await t.read(), Number);
        expect([key, ...t.shape]).toEqual([key, ...shape]);
        expect(values.slice(0, 4)).toEqual(first4);
        const size = values.reduce((a, v) => a + Math.abs(v), 0);
        expect(Math.abs(values.reduce((a, v) => a + v, 0) - sum)).toBeLessThanOrEqual(1e-12 * size);
      }
      await file.close();
    });
  }
});

interface Legacy {
  forward: { indices: number[] };
  jax_legacy_attention: { indices: number[]; rec_from_same_q_first48: number[] };
}

/** The tiny model of the goldens, and its tensors ready to be written. */
function tinyModel(): { model: VQGAN; tensors: (dtype?: "f32" | "bf16") => TensorToWrite[] } {
  const model = new VQGAN(tinyConfig, null);
  fillState(model.stateDict());
  const tensors = (dtype: "f32" | "bf16" = "f32") =>
    [...model.stateDict()].map(([name, t]) => {
      return { name, shape: t.shape, dtype, data: async () => Float32Array.from(await t.floats()) };
    });
  return { model, tensors };
}

describe("there and back", () => {
  test("what was read from Flax is written again byte for byte", async () => {
    const original = fixture("micro_flax_new.msgpack");
    const file = await openCheckpoint(original);
    const path = join(folder, "again.msgpack");
    const tensors = [...file.tensors].map(([name, t]) => toWrite(name, t));
    await writeFlax(path, tensors, guessConfig({ tensors: tinyShapes() }).config);
    await file.close();
    expect(await readFile(path)).toEqual(await readFile(original));
  });

  /** Shapes of the tiny model, since the fixture holds a few tensors only. */
  function tinyShapes() {
    const { model } = tinyModel();
    const shapes = new Map([...model.stateDict()].map(([key, t]) => [key, { shape: t.shape }]));
    model.dispose();
    return shapes;
  }

  test("a model opens from the folder, and from the file inside, with the same bits", async () => {
    const { model, tensors } = tinyModel();
    const path = join(folder, "model");
    await mkdir(path);
    const weights = join(path, "flax_model.msgpack");
    const shapes = new Map([...model.stateDict()].map(([key, t]) => [key, { shape: t.shape }]));
    const { config } = guessConfig({ tensors: shapes });
    await writeFlax(weights, tensors(), { ...config, ddconfig: tinyConfig.ddconfig });
    const images = tensor(picture("x0", [2, 3, 32, 32]), [2, 32, 32, 3]);
    const wanted = await model.reconstruct(images).floats();
    for (const source of [path, weights]) {
      const copy = await VQGAN.load(source);
      expect(copy.config.ddconfig).toEqual(tinyConfig.ddconfig);
      expect(await copy.reconstruct(images).floats()).toEqual(wanted);
      copy.dispose();
    }
    const report = await inspect(path);
    expect([report.format, report.architecture?.nEmbed]).toEqual(["flax", 64]);
    expect(report.hyperParameters).toMatchObject({ ch_mult: [1, 2, 2], resolution: 32, embed_dim: 16 });
    model.dispose();
  });

  test("with the attention order of vqgan-jax before July 2022, as the golden has it", async () => {
    const { model, tensors } = tinyModel();
    const path = join(folder, "legacy");
    await mkdir(path);
    await writeFlax(join(path, "flax_model.msgpack"), tensors(), tinyConfig);
    const copy = await VQGAN.load(path, { config: { attentionOrder: "vqgan-jax-legacy" } });
    const { forward, jax_legacy_attention: wanted } = golden<Legacy>("tiny_forward");
    const encoded = copy.encode(tensor(picture("x0", [2, 3, 32, 32]), [2, 32, 32, 3]));
    expect(Array.from(await encoded.indices.ints())).toEqual(wanted.indices);
    const made = copy.decodeTokens(forward.indices, [8, 8]);
    const first = toNCHW(await made.floats(), made.shape).slice(0, 48);
    expect(maxError(first, wanted.rec_from_same_q_first48)).toBeLessThan(4e-5);
    copy.dispose();
    model.dispose();
  });

  test("in chunks", async () => {
    const { model, tensors } = tinyModel();
    const [whole, cut] = [join(folder, "whole.msgpack"), join(folder, "cut.msgpack")];
    await writeFlax(whole, tensors(), tinyConfig);
    await writeFlax(cut, tensors(), tinyConfig, 1000);
    const [a, b] = [await openCheckpoint(whole), await openCheckpoint(cut)];
    expect(b.byteLength).toBeGreaterThan(a.byteLength + 1000);
    for (const [key, t] of a.tensors) {
      expect([key, await b.tensors.get(key)!.read()]).toEqual([key, await t.read()]);
    }
    await a.close();
    await b.close();
    model.dispose();
  });

  test("bfloat16", async () => {
    const { model, tensors } = tinyModel();
    const path = join(folder, "brain.msgpack");
    await writeFlax(path, tensors("bf16"), tinyConfig);
    const file = await openCheckpoint(path);
    const key = "decoder.conv_in.weight";
    expect(file.tensors.get(key)?.dtype).toBe("bf16");
    const wanted = await model.stateDict().get(key)!.floats();
    const far = Array.from(await file.tensors.get(key)!.read(), Number).filter((v, i) =>
      Math.abs(v - wanted[i]) > 2 ** -8 * Math.abs(wanted[i])
    );
    expect(far).toEqual([]);
    await file.close();
    model.dispose();
  });

  test("config.json of something else is left alone", async () => {
    const { model, tensors } = tinyModel();
    const path = join(folder, "other");
    await mkdir(path);
    await writeFile(join(path, "config.json"), '{"name":"mine"}');
    const writing = writeFlax(join(path, "flax_model.msgpack"), tensors(), tinyConfig);
    await expect(writing).rejects.toThrow("belongs to something else");
    expect(await readFile(join(path, "config.json"), "utf8")).toBe('{"name":"mine"}');
    model.dispose();
  });
});

/** ext 1 around [shape, dtype, bytes], as flax.serialization packs an array. */
function ndarray(shape: number[], dtype: string, bytes: Uint8Array): number[] {
  const inner = [
    ...[...pack.array(3), ...pack.array(shape.length), ...shape.flatMap(pack.uint)],
    ...[...pack.text(dtype), ...pack.bin(bytes.length), ...bytes],
  ];
  return [...pack.ext(1, inner.length), ...inner];
}

const map = (entries: Record<string, number[]>) => [
  ...pack.map(Object.keys(entries).length),
  ...Object.entries(entries).flatMap(([key, value]) => [...pack.text(key), ...value]),
];
const floats = (...values: number[]) => new Uint8Array(Float32Array.from(values).buffer);
const open = (bytes: number[]) => readCheckpoint(memorySource("x.msgpack", Uint8Array.from(bytes)));

describe("files made by hand", () => {
  test("an array in chunks, under params, beside a step count and an empty map", async () => {
    const chunked = map({
      __msgpack_chunked_array__: pack.true,
      shape: map({ 0: pack.uint(2), 1: pack.uint(3) }),
      chunks: map({
        0: ndarray([4], "float32", floats(1, 2, 3, 4)),
        1: ndarray([2], "float32", floats(5, 6)),
      }),
    });
    const norm = map({ scale: ndarray([1, 1, 1, 2], "float32", floats(7, 8)) });
    const file = await open(
      map({ params: map({ conv: map({ kernel: chunked }), norm, none: map({}) }), step: pack.uint(300) }),
    );
    expect([...file.tensors.keys()]).toEqual(["conv.weight", "norm.weight"]);
    // a kernel [in 2, out 3] is a weight [out 3, in 2]
    const weight = file.tensors.get("conv.weight")!;
    expect([weight.shape, Array.from(await weight.read(), Number)]).toEqual([[3, 2], [1, 4, 2, 5, 3, 6]]);
    expect(file.tensors.get("norm.weight")!.shape).toEqual([2]);
  });

  test("a kernel with one output channel is no norm", async () => {
    const file = await open(map({ c: map({ kernel: ndarray([1, 1, 1, 3], "float32", floats(1, 2, 3)) }) }));
    expect(file.tensors.get("c.weight")!.shape).toEqual([3, 1, 1, 1]);
  });

  const sound = ndarray([2], "float32", floats(1, 2));
  const deep = (n: number): number[] => n === 0 ? sound : map({ a: deep(n - 1) });
  const cases: [string, number[], string][] = [
    ["bytes too few", map({ a: ndarray([3], "float32", floats(1, 2)) }), "cannot lie in 8 bytes"],
    ["absurd shape", map({ a: ndarray([2 ** 40, 2 ** 40], "float32", floats(1)) }), "cannot lie in 4 bytes"],
    [
      "a fractional shape",
      map({
        a: [
          ...pack.ext(1, 21),
          ...pack.array(3),
          ...pack.array(1),
          0xca,
          63,
          0,
          0,
          0,
          ...pack.text("float32"),
          0xc4,
          4,
          0,
          0,
          0,
          0,
        ],
      }),
      "is not an array of shape, type and bytes",
    ],
    ["an unknown type", map({ a: ndarray([1], "complex64", floats(1, 2)) }), "has the type complex64"],
    ["more within an array", map({ a: [0xc7, 3, 1, 0x90, 0, 0] }), "its value ends at byte"],
    ["no end", map({ a: sound }).slice(0, -1), "truncated"],
    ["more after the end", [...map({ a: sound }), 0], "its value ends at byte"],
    ["a map of 2^32 entries", [0xdf, 255, 255, 255, 255, 0xa1, 97, 1, 0xa1], "truncated"],
    ["an array of 2^32 items", map({ a: [0xdd, 255, 255, 255, 255] }), "truncated"],
    ["a text of 2^32 bytes", map({ a: [0xdb, 255, 255, 255, 255] }), "a text of 4294967295 bytes"],
    [
      "2^21 values",
      map({ a: [0xdd, 0, 32, 0, 0, ...new Array<number>(2 ** 21).fill(0)] }),
      "more than 1048576",
    ],
    ["a hundred levels", deep(100), "more than 32 levels"],
    ["the same key twice", [0x82, ...pack.text("a"), ...sound, ...pack.text("a"), ...sound], "comes twice"],
    [
      "two names of one key",
      map({ a: map({ kernel: sound, scale: sound }) }),
      "two arrays are named a.weight",
    ],
    ["code 0xc1", map({ a: [0xc1] }), "has no meaning"],
    ["a list as a key", [0x82, ...pack.text("a"), 0, 0x90, 0], "is no text"],
    [
      "chunks that do not fill the shape",
      map({
        a: map({ __msgpack_chunked_array__: pack.true, shape: map({ 0: [9] }), chunks: map({ 0: sound }) }),
      }),
      "cannot be made of 2 values",
    ],
    [
      "chunks that are not numbered from 0",
      map({
        a: map({ __msgpack_chunked_array__: pack.true, shape: map({ 0: [2] }), chunks: map({ 1: sound }) }),
      }),
      "has no shape or no chunks",
    ],
  ];
  for (const [name, bytes, message] of cases) {
    test(name, async () => {
      await expect(open(bytes)).rejects.toThrow(message);
    });
  }

  test("__proto__ and constructor are names like any other", async () => {
    const file = await open(map({ ["__proto__"]: map({ constructor: sound }), b: sound }));
    expect(file.tensors.size).toBe(2);
  });
});

test("arrays are read by range: the structure alone costs a few hundred bytes", async () => {
  const bytes = Uint8Array.from(
    map({ a: map({ b: ndarray([2 ** 16], "float32", new Uint8Array(2 ** 18)) }) }),
  );
  const source = memorySource("x", bytes);
  let read = 0;
  const counted = {
    ...source,
    readInto(target: Uint8Array, offset: number) {
      read += target.length;
      return source.readInto(target, offset);
    },
  };
  expect((await readFlax(counted)).get("a.b")?.byteLength).toBe(2 ** 18);
  expect(read).toBeLessThan(2000);
});
