// Reading Flax: the small fixtures written by flax, arrays in chunks, and files with false claims.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { fileURLToPath } from "node:url";
import { pack } from "../../../../data/formats/flax/msgpack.ts";
import { readFlax } from "../../../../data/formats/flax/read.ts";
import { memorySource, openCheckpoint, readCheckpoint } from "../../../../data/index.ts";
import { golden } from "../../../support/goldens.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const fixture = (name: string) => fileURLToPath(new URL(`../../../fixtures/${name}`, import.meta.url));

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

/** Packs an array as flax.serialization does: ext 1 around [shape, dtype, bytes]. */
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
  test("an array in chunks, under params, next to a step count and an empty map", async () => {
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
    // a kernel [in 2, out 3] becomes a weight [out 3, in 2]
    const weight = file.tensors.get("conv.weight")!;
    expect([weight.shape, Array.from(await weight.read(), Number)]).toEqual([[3, 2], [1, 4, 2, 5, 3, 6]]);
    expect(file.tensors.get("norm.weight")!.shape).toEqual([2]);
  });

  test("a kernel with one output channel is not taken for a norm", async () => {
    const file = await open(map({ c: map({ kernel: ndarray([1, 1, 1, 3], "float32", floats(1, 2, 3)) }) }));
    expect(file.tensors.get("c.weight")!.shape).toEqual([3, 1, 1, 1]);
  });

  const sound = ndarray([2], "float32", floats(1, 2));
  const deep = (n: number): number[] => n === 0 ? sound : map({ a: deep(n - 1) });
  const cases: [string, number[], string][] = [
    ["too few bytes", map({ a: ndarray([3], "float32", floats(1, 2)) }), "does not fit its 8 bytes"],
    [
      "absurd shape",
      map({ a: ndarray([2 ** 40, 2 ** 40], "float32", floats(1)) }),
      "does not fit its 4 bytes",
    ],
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
    ["extra bytes within an array", map({ a: [0xc7, 3, 1, 0x90, 0, 0] }), "its value ends at byte"],
    ["no end", map({ a: sound }).slice(0, -1), "truncated"],
    ["extra bytes after the end", [...map({ a: sound }), 0], "its value ends at byte"],
    ["a map of 2^32 entries", [0xdf, 255, 255, 255, 255, 0xa1, 97, 1, 0xa1], "truncated"],
    ["an array of 2^32 items", map({ a: [0xdd, 255, 255, 255, 255] }), "truncated"],
    ["a text of 2^32 bytes", map({ a: [0xdb, 255, 255, 255, 255] }), "a text of 4294967295 bytes"],
    [
      "2^22 values and 256 more",
      map({ a: [0xdd, 0, 64, 1, 0, ...new Array<number>(2 ** 22 + 256).fill(0)] }),
      "more than 4194304",
    ],
    ["a hundred levels", deep(100), "more than 32 levels"],
    ["the same key twice", [0x82, ...pack.text("a"), ...sound, ...pack.text("a"), ...sound], "occurs twice"],
    [
      "two names of one key",
      map({ a: map({ kernel: sound, scale: sound }) }),
      "two arrays are named a.weight",
    ],
    ["a name that is not UTF-8", [0x81, 0xa2, 0xff, 0xfe, ...sound], "is not UTF-8"],
    ["code 0xc1", map({ a: [0xc1] }), "has no meaning"],
    ["a list as a key", [0x82, ...pack.text("a"), 0, 0x90, 0], "is not a text"],
    [
      "chunks that do not fill the shape",
      map({
        a: map({ __msgpack_chunked_array__: pack.true, shape: map({ 0: [9] }), chunks: map({ 0: sound }) }),
      }),
      "does not fit the 2 values",
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

  test("__proto__ and constructor are ordinary names", async () => {
    const file = await open(map({ ["__proto__"]: map({ constructor: sound }), b: sound }));
    expect(file.tensors.size).toBe(2);
  });
});

test("arrays are read by range: reading the structure takes a few hundred bytes", async () => {
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
