// Weights of TensorFlow.js: quantised numbers, and manifests and files that do not fit.
import { expect, test } from "bun:test";
import { readTfjsWeights } from "../../../data/formats/tfjs.ts";

const weights = [
  { name: "a", shape: [2], dtype: "float32" },
  { name: "b", shape: [1, 3], dtype: "float32", quantization: { dtype: "uint8", scale: 0.5, min: -1 } },
  { name: "c", shape: [], dtype: "float32", quantization: { dtype: "uint16", scale: 2, min: 1 } },
];
const manifest = (weights: unknown) => JSON.stringify([{ paths: ["w.bin"], weights }]);
const bytes = Uint8Array.of(...new Uint8Array(Float32Array.of(1.5, -2).buffer), 0, 1, 255, 1, 2);

test("numbers are scale * quantised + min", () => {
  const tensors = readTfjsWeights(manifest(weights), bytes, "w.bin");
  expect([...tensors].map(([name, { shape, values }]) => [name, shape, [...values]])).toEqual([
    ["a", [2], [1.5, -2]],
    ["b", [1, 3], [-1, -0.5, 126.5]],
    ["c", [], [2 * (1 + 2 * 256) + 1]],
  ]);
});

test("what does not fit is one line", () => {
  const read = (text: string, data = bytes) => () => readTfjsWeights(text, data, "w.bin");
  expect(read("{")).toThrow("w.bin: its manifest is not JSON");
  expect(read("{}")).toThrow("w.bin: its manifest is not a list of groups of weights");
  expect(read('[{"weights":[null]}]')).toThrow("w.bin: its manifest is not a list of groups of weights");
  expect(read("[]")).toThrow("w.bin: its manifest has 0 groups of weights, one is read");
  expect(read(manifest([{ name: "a", shape: [-1], dtype: "float32" }]))).toThrow(
    "w.bin: a has shape [-1] and type float32",
  );
  expect(read(manifest([{ name: "a", shape: [1], dtype: "string" }]))).toThrow(
    "type string, which cannot be read",
  );
  const noScale = [{
    name: "a",
    shape: [1],
    dtype: "float32",
    quantization: { dtype: "uint8", scale: null, min: 0 },
  }];
  expect(read(manifest(noScale))).toThrow("w.bin: its manifest is not a list of groups of weights");
  expect(read(manifest(weights), bytes.slice(1))).toThrow("w.bin: c ends at byte 13, but the file has 12");
  expect(read(manifest(weights), new Uint8Array(20))).toThrow(
    "w.bin: its tensors end at byte 13, but the file has 20",
  );
});
