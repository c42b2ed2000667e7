// Writing torch files: all contents are read back, in torch's order and with torch's alignment.
import { afterAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OrderedDict, tamingOrder, Tuple, unwrapOmegaconf, writeTorch } from "../../../../data/index.ts";
import { withFile } from "../../../support/with_file.ts";

const folder = await mkdtemp(join(tmpdir(), "tessera-torch-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("torch files", () => {
  test("are read back unchanged: numbers, tuples, ordered dicts, every type of tensor", async () => {
    const path = join(folder, "all.pt");
    const entry = (name: string, dtype: "f32" | "f16" | "bf16" | "i64" | "bool", values: number[]) => {
      const data = () =>
        dtype === "i64"
          ? BigInt64Array.from(values, BigInt)
          : dtype === "bool"
          ? Uint8Array.from(values)
          : Float32Array.from(values);
      return [name, { name, dtype, shape: [values.length], data }] as const;
    };
    await writeTorch(
      path,
      new Map<string, Parameters<typeof writeTorch>[1]>([
        ["numbers", [0, -1, 2 ** 40, -(2 ** 31), 4.5e-6, -0.5, 1e300]],
        ["pair", new Tuple([0.5, "é"])],
        ["flags", [true, false, null]],
        ["by number", new Map([[0, "a"], [300, "b"]])],
        [
          "state_dict",
          new OrderedDict([
            entry("w", "f32", [1.5, -2]),
            entry("h", "f16", [0.5, 65504]),
            entry("b", "bf16", [1, 3]),
            entry("n", "i64", [2 ** 50]),
            entry("f", "bool", [1, 0, 1]),
            entry("none", "f32", []),
          ]),
        ],
      ]),
    );
    await withFile(path, async ({ root, tensors, format }) => {
      expect(format).toBe("torch-zip");
      expect(unwrapOmegaconf(root)).toMatchObject({
        numbers: [0, -1, 2 ** 40, -(2 ** 31), 4.5e-6, -0.5, 1e300],
        pair: [0.5, "é"],
        flags: [true, false, null],
        "by number": { 0: "a", 300: "b" },
      });
      const values = [];
      for (const [key, t] of tensors) values.push([key, t.dtype, ...Array.from(await t.read(), Number)]);
      expect(values).toEqual([
        ["w", "f32", 1.5, -2],
        ["h", "f16", 0.5, 65504],
        ["b", "bf16", 1, 3],
        ["n", "i64", 2 ** 50],
        ["f", "bool", 1, 0, 1],
        ["none", "f32"],
      ]);
    });
  });

  test("have their tensors at multiples of 64 bytes, as in torch", async () => {
    const bytes = await readFile(join(folder, "all.pt"));
    const at = bytes.indexOf(new Uint8Array(Float32Array.from([1.5, -2]).buffer));
    expect(at % 64).toBe(0);
  });

  test("stay unchanged if values do not match", async () => {
    const wrong = { name: "w", dtype: "f32", shape: [3], data: () => new Float32Array(2) } as const;
    await expect(writeTorch(join(folder, "all.pt"), wrong)).rejects.toThrow(
      "tensor w has 2 values, but its shape [3] needs 3",
    );
    await withFile(join(folder, "all.pt"), ({ tensors }) => Promise.resolve(expect(tensors.size).toBe(6)));
  });
});

test("sorting restores taming's order of the published model's 392 tensors from any order", () => {
  const text = readFileSync(new URL("../../../fixtures/f16_16384_keys.tsv", import.meta.url), "utf8");
  const keys = text.trim().split("\n").map((line) => line.split("\t")[0]);
  expect(tamingOrder(keys.toSorted())).toEqual(keys);
  expect(tamingOrder(keys.toReversed())).toEqual(keys);
  // other models keep their own order
  const other = ["stem.weight", "b.bias", "b.gamma", "a.10.x", "a.2.x", "head"];
  expect(tamingOrder(other)).toEqual(other.with(3, "a.2.x").with(4, "a.10.x"));
});
