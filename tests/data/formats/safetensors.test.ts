// Writing and reading safetensors, values that do not fit, and files with false claims.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { Buffer } from "node:buffer";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  convertCheckpoint,
  memorySource,
  openCheckpoint,
  readCheckpoint,
  type StoredValues,
  type TensorToWrite,
  writeSafetensors,
} from "../../../data/index.ts";

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "tessera-formats-"))));
afterAll(() => rm(folder, { recursive: true }));

function entry(
  name: string,
  dtype: TensorToWrite["dtype"],
  shape: number[],
  data: StoredValues,
): TensorToWrite {
  return { name, dtype, shape, data: () => data };
}

describe("safetensors", () => {
  test("every type is read back, f16 and bf16 rounded to nearest even", async () => {
    const path = join(folder, "all.safetensors");
    const values = new Float32Array([1, -2.5, 0.1, 65519, 1e-8, Infinity, NaN, -0]);
    const tensors = [
      entry("half", "f16", [8], values),
      entry("brain", "bf16", [2, 4], values),
      entry("odd", "u8", [3], new Uint8Array([1, 2, 255])),
      entry("full", "f32", [8], values),
      entry("count", "i64", [], new BigInt64Array([-(2n ** 60n)])),
      entry("double", "f64", [1], new Float64Array([Math.PI])),
      entry("small", "i8", [2], new Int8Array([-1, 1])),
      entry("short", "i16", [1], new Int16Array([-300])),
      entry("int", "i32", [1], new Int32Array([-70000])),
      entry("flag", "bool", [2], new Uint8Array([0, 1])),
      entry("long", "u64", [1], new BigUint64Array([2n ** 64n - 1n])),
      entry("word", "u32", [1], new Uint32Array([2 ** 32 - 1])),
      entry("halfword", "u16", [1], new Uint16Array([2 ** 16 - 1])),
      entry("empty", "f32", [0, 3], new Float32Array(0)),
    ];
    await writeSafetensors(path, tensors, { config: '{"ch":32}', note: "é" });
    const file = await openCheckpoint(path);
    expect(file.format).toBe("safetensors");
    expect(file.metadata).toEqual({ config: '{"ch":32}', note: "é" });
    expect([...file.tensors.keys()]).toEqual(tensors.map(({ name }) => name));
    for (const { name, shape, dtype, data } of tensors) {
      const t = file.tensors.get(name)!;
      expect([t.dtype, t.shape]).toEqual([dtype, shape]);
      if (dtype !== "f16" && dtype !== "bf16") expect([...await t.read()]).toEqual([...await data()]);
    }
    const near = Math.fround;
    expect(Array.from(await file.tensors.get("half")!.read(), Number))
      .toEqual([1, -2.5, 0.0999755859375, 65504, 0, Infinity, NaN, -0]);
    expect(Array.from(await file.tensors.get("brain")!.read(), Number))
      .toEqual([1, -2.5, 0.10009765625, 65536, near(1.0011717677116394e-8), Infinity, NaN, -0]);
    await file.close();
  });

  test("floats of 8 bits are read, and become f32 when written", async () => {
    const header = {
      a: { dtype: "F8_E4M3", shape: [6], data_offsets: [0, 6] },
      b: { dtype: "F8_E5M2", shape: [4], data_offsets: [6, 10] },
    };
    const text = new TextEncoder().encode(JSON.stringify(header).padEnd(160));
    const codes = [0x38, 0x7e, 0x01, 0x88, 0x80, 0xff, 0x3c, 0x7b, 0xfc, 0x01];
    const bytes = Uint8Array.from([160, 0, 0, 0, 0, 0, 0, 0, ...text, ...codes]);
    const file = await readCheckpoint(memorySource("x", bytes));
    const wanted = [[1, 448, 2 ** -9, -(2 ** -6), -0, NaN], [1, 57344, -Infinity, 2 ** -16]];
    for (const [i, name] of ["a", "b"].entries()) {
      expect(Array.from(await file.tensors.get(name)!.read(), Number)).toEqual(wanted[i]);
    }
    const path = join(folder, "wide.safetensors");
    await convertCheckpoint(file, path, { config: null });
    const wide = await openCheckpoint(path);
    expect([wide.tensors.get("a")!.dtype, await wide.tensors.get("b")!.read()]).toEqual([
      "f32",
      Float32Array.from(wanted[1]),
    ]);
    await wide.close();
  });

  test("long tensors are written and read in pieces", async () => {
    const path = join(folder, "long.safetensors");
    const values = Float32Array.from({ length: 2 ** 21 + 5 }, (_, i) => i % 2048);
    await writeSafetensors(path, [entry("a", "f16", [values.length], values)]);
    const file = await openCheckpoint(path);
    const pieces: number[] = [];
    let wrong = 0;
    await file.tensors.get("a")!.readFloats((chunk, offset) => {
      pieces.push(offset, chunk.length);
      chunk.forEach((v, i) => wrong += Number(v !== values[offset + i]));
    });
    expect(pieces.length).toBe(18);
    expect(pieces.slice(-4)).toEqual([7 * 2 ** 18, 2 ** 18, 2 ** 21, 5]);
    expect(wrong).toBe(0);
    expect(file.byteLength % 8).toBe(2);
    await file.close();
  });

  test("values that do not fit are refused, and the old file stays", async () => {
    const path = join(folder, "kept.safetensors");
    await writeSafetensors(path, [entry("a", "f32", [1], new Float32Array([7]))]);
    const before = await readFile(path);
    const attempts: [TensorToWrite[], string][] = [
      [[entry("a", "f32", [3], new Float32Array(2))], "tensor a has 2 values, but its shape [3] needs 3"],
      [[entry("a", "i64", [2], new Float32Array(2))], "tensor a of type i64 needs a BigInt64Array"],
      [[1, 2].map(() => entry("a", "f32", [1], new Float32Array(1))), "two tensors are named a"],
    ];
    for (const [tensors, message] of attempts) {
      await expect(writeSafetensors(path, tensors)).rejects.toThrow(message);
    }
    expect(await readFile(path)).toEqual(before);
    expect((await readdir(folder)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });

  /** Makes a file with this header and this many bytes of data. */
  const made = (header: unknown, length: number, claimed?: number) => {
    const json = Buffer.from(typeof header === "string" ? header : JSON.stringify(header), "latin1");
    const prefix = Buffer.alloc(8);
    prefix.writeBigUInt64LE(BigInt(claimed ?? json.length));
    return Buffer.concat([prefix, json, Buffer.alloc(length)]);
  };
  const f32 = (shape: unknown, from: unknown, to: unknown) => ({
    dtype: "F32",
    shape,
    data_offsets: [from, to],
  });
  const hostile: [string, Uint8Array, string][] = [
    ["overlap", made({ a: f32([2], 0, 8), b: f32([1], 4, 8) }, 8), "starts at 4"],
    ["gap", made({ a: f32([1], 0, 4), b: f32([1], 8, 12) }, 12), "starts at 8"],
    [
      "truncated",
      made({ a: f32([2], 0, 8) }, 5),
      "truncated safetensors file: its tensors need 8 bytes, but there are 5",
    ],
    [
      "too long",
      made({ a: f32([2], 0, 8) }, 9),
      "corrupt safetensors file: its tensors need 8 bytes, but there are 9",
    ],
    ["size", made({ a: f32([3], 0, 8) }, 8), "of shape [3] does not fit the offsets [0, 8]"],
    ["absurd shape", made({ a: f32([2 ** 40, 2 ** 40], 0, 8) }, 8), "does not fit the offsets"],
    ["negative shape", made({ a: f32([-1, -2], 0, 8) }, 8), "no valid shape"],
    ["negative offset", made({ a: f32([2], -8, 0) }, 8), "does not fit the offsets"],
    ["no numbers", made({ a: f32(["2"], 0, 8) }, 8), "no valid shape"],
    ["no shape", made({ a: { dtype: "F32" } }, 8), 'tensor "a" has no shape or offsets'],
    ["type", made({ a: { ...f32([1], 0, 4), dtype: "F8_E8M0" } }, 4), 'has the type "F8_E8M0"'],
    ["not JSON", made("{]", 4), "its header cannot be read: it is not JSON"],
    [
      "type without text",
      made({ a: { ...f32([4], 0, 16), dtype: { toString: 1, valueOf: 1 } } }, 16),
      "has the type { t",
    ],
    [
      "a shape with 100,000 levels",
      made(`{"a":{"dtype":"F32","shape":${"[".repeat(1e5)}${"]".repeat(1e5)},"data_offsets":[0,4]}}`, 4),
      "more than 100 levels",
    ],
    ["five million values", made(`{"a":[${"[],".repeat(5e6)}0]}`, 4), "more than 3000000 values"],
    [
      "metadata that is not text",
      made({ __metadata__: { a: { toString: 1 } } }, 0),
      "not an object of texts",
    ],
    ["metadata in a list", made({ __metadata__: ["a"] }, 0), "not an object of texts"],
    ["a name that is not UTF-8", made('{"\xff":1}', 0), "its header is not UTF-8"],
    ["long header", made({ a: f32([1], 0, 4) }, 4, 90_000_000), "the header needs 90000000 bytes"],
    [
      "absurd header",
      made({ a: f32([1], 0, 4) }, 4, 2 ** 50),
      "neither a torch, a safetensors nor a Flax file",
    ],
  ];
  for (const [name, bytes, message] of hostile) {
    test(`hostile: ${name}`, async () => {
      await expect(readCheckpoint(memorySource("x", bytes))).rejects.toThrow(message);
    });
  }
});
