// f16 storage: every operation that is used with f16, compared with f32 on the same numbers. The model in f16 is tested in
// nn/precision.test.ts, and its training in train/loss_scale.test.ts.
import { expect, test } from "bun:test";
import * as t from "../../../../src/index.ts";
import type { WebGpuBackend } from "../../../../src/backends/webgpu/backend.ts";
import { describeF16 } from "../../../support/devices.ts";
import { expectNoLeak } from "../../../support/expectations.ts";
import { drawn, relativeError } from "../../../support/numbers.ts";

const gpu = await t.device("webgpu").then((backend) => (backend as WebGpuBackend).gpu, () => null);
await t.device("cpu");

interface Case {
  readonly name: string;
  readonly inputs: readonly t.Shape[];
  /** How many of the inputs, from the first on, are f16; the others are weights. */
  readonly halves: number;
  readonly run: (...x: t.Tensor[]) => t.Tensor;
}

const cases: Case[] = [
  { name: "add", inputs: [[3, 5], [3, 5]], halves: 2, run: (a, b) => a.add(b) },
  { name: "mul by f32 rows", inputs: [[3, 8], [8]], halves: 1, run: (a, b) => a.mul(b) },
  { name: "sub of columns", inputs: [[3, 5], [3, 1]], halves: 2, run: (a, b) => a.sub(b) },
  { name: "maximum with a number", inputs: [[7]], halves: 1, run: (a) => a.maximum(0.1) },
  { name: "relu", inputs: [[11]], halves: 1, run: (a) => a.relu() },
  { name: "swish", inputs: [[11]], halves: 1, run: (a) => a.swish() },
  { name: "sum of all", inputs: [[40, 5]], halves: 1, run: (a) => a.sum() },
  { name: "sum of leading axes", inputs: [[9, 8]], halves: 1, run: (a) => a.sum(0) },
  { name: "sum of rows", inputs: [[3, 100]], halves: 1, run: (a) => a.sum(1) },
  {
    name: "permute and reshape",
    inputs: [[2, 3, 4]],
    halves: 1,
    run: (a) => a.permute(2, 0, 1).reshape(8, 3),
  },
  { name: "slice", inputs: [[4, 5, 3]], halves: 1, run: (a) => a.slice([1, 2], [3, 5]) },
  { name: "concat", inputs: [[2, 3], [2, 2]], halves: 2, run: (a, b) => t.concat([a, b], 1) },
  { name: "softmax", inputs: [[3, 70]], halves: 1, run: (a) => t.softmax(a, 2) },
  { name: "matmul", inputs: [[5, 7], [7, 9]], halves: 2, run: (a, b) => t.matmul(a, b) },
  { name: "matmul with f32", inputs: [[8, 12], [12, 16]], halves: 1, run: (a, b) => t.matmul(a, b) },
  { name: "attention", inputs: [[2, 16, 8], [2, 16, 8], [2, 16, 8]], halves: 3, run: t.attention },
  {
    name: "conv2d with bias and residual",
    inputs: [[1, 6, 5, 4], [1, 6, 5, 8], [8, 4, 3, 3], [8]],
    halves: 2,
    run: (x, r, w, b) => t.conv2d(x, w, b, { padding: 1, residual: r }),
  },
  {
    name: "conv2d of odd channels, stride 2",
    inputs: [[1, 8, 8, 3], [5, 3, 4, 4], [5]],
    halves: 1,
    run: (x, w, b) => t.conv2d(x, w, b, { stride: 2, padding: 1 }),
  },
  {
    name: "conv2d, enlarging",
    inputs: [[1, 4, 4, 8], [8, 8, 3, 3]],
    halves: 1,
    run: (x, w) => t.conv2d(x, w, null, { padding: 1, upsample: 2 }),
  },
  {
    name: "conv2d in groups with bias and residual",
    inputs: [[1, 6, 5, 8], [1, 6, 5, 12], [12, 2, 3, 3], [12]],
    halves: 2,
    run: (x, r, w, b) => t.conv2d(x, w, b, { groups: 4, padding: 1, residual: r }),
  },
  {
    name: "conv2d depthwise, stride 2",
    inputs: [[1, 6, 6, 8], [8, 1, 3, 3], [8]],
    halves: 1,
    run: (x, w, b) => t.conv2d(x, w, b, { groups: 8, stride: 2, padding: 1 }),
  },
  {
    name: "groupNorm with swish",
    inputs: [[2, 3, 3, 8], [8], [8]],
    halves: 1,
    run: (x, w, b) => t.groupNorm(x, w, b, { groups: 2, swish: true }),
  },
  {
    name: "maxPool2d",
    inputs: [[1, 6, 6, 4]],
    halves: 1,
    run: (x) => t.maxPool2d(x, { size: 2, stride: 2 }),
  },
  {
    name: "avgPool2d, padding",
    inputs: [[1, 6, 6, 4]],
    halves: 1,
    run: (x) => t.avgPool2d(x, { size: 3, stride: 2, padding: 1 }),
  },
  {
    name: "lpipsDistance",
    inputs: [[1, 3, 3, 8], [1, 3, 3, 8]],
    halves: 2,
    run: (a, b) => t.lpipsDistance(a, b, drawn("lpips weight", [8]).square()),
  },
];

/** The precision of f16, 11 bits. Some results, such as gradients through attention, are rounded several times. */
const ROUNDING = 2 ** -11;

describeF16("operations on f16 compared with f32", () => {
  for (const { name, inputs, halves, run } of cases) {
    test(name, () =>
      expectNoLeak(() =>
        t.asyncScope(async () => {
          // numbers that f16 can hold, so that both sides compute with the same ones
          const rounded = inputs.map((shape, i) => {
            const x = drawn(`${name} ${i}`, shape);
            return i < halves ? x.cast("f16").cast("f32") : x;
          });
          const results = (half: boolean) => {
            const xs = rounded.map((x, i) => half && i < halves ? x.cast("f16") : x.detach());
            for (const x of xs) x.requiresGrad = true;
            const out = run(...xs);
            const g = drawn(`${name} upstream`, out.shape).cast("f16").cast("f32");
            return { out, xs, gradients: t.grad([out], xs, { gradOutputs: [g] }) };
          };
          const found = results(true), wanted = results(false);
          for (const [i, g] of found.gradients.entries()) expect(g.dtype).toBe(found.xs[i].dtype);
          const pairs = [[found.out, wanted.out], ...found.gradients.map((g, i) => [g, wanted.gradients[i]])];
          for (const [a, b] of pairs) {
            expect(relativeError(await a.floats(), await b.floats())).toBeLessThan(3 * ROUNDING);
          }
        })
      ));
  }

  test("cast there and back", () =>
    expectNoLeak(() =>
      t.asyncScope(async () => {
        const exact = [1, 1 + 2 ** -10, -65504, 2 ** -24, -(2 ** -14), 0], inexact = [0.1, 3.14159];
        const x = t.tensor([...exact, ...inexact], [8], { requiresGrad: true });
        const half = x.cast("f16");
        expect([half.dtype, half.storage.buffer.bytes]).toEqual(["f16", 16]);
        expect(half.cast("f16")).toBe(half);
        const rounded = await half.floats();
        expect(Array.from(rounded.subarray(0, exact.length))).toEqual(exact);
        inexact.forEach((v, i) =>
          expect(Math.abs(rounded[exact.length + i] / v - 1)).toBeLessThan(2 * ROUNDING)
        );
        const [g] = t.grad([half.mul(3)], [x], { gradOutputs: [t.full([8], 0.5)] });
        expect(g.dtype).toBe("f32");
        expect(await g.floats()).toEqual(new Float32Array(8).fill(1.5));
        expect(() => half.write(new Float32Array(8))).toThrow("write: the tensor is f16");
      })
    ));
});

if (!gpu?.matrix) {
  test.skip("products by subgroup matrices: no GPU that has them, or TESSERA_MATRIX=1 is not set", () => {});
} else {
  describeF16("products by subgroup matrices", () => {
    test("equal those of f32 tiles on the same numbers", () =>
      t.asyncScope(async () => {
        const x = drawn("x", [1, 20, 19, 64]).cast("f16"),
          w = drawn("w", [96, 64, 3, 3]).mul(0.1).cast("f16").cast("f32");
        const g = drawn("g", [1, 10, 10, 96]).cast("f16"), b = drawn("b", [96]);
        const compute = async (dtype: "f16" | "f32") => {
          const names: string[] = [], own = x.cast(dtype).detach();
          own.requiresGrad = w.requiresGrad = true;
          gpu.trace = (name) => void names.push(name);
          const y = t.conv2d(own, w, b, { stride: 2, padding: 1 });
          const [dx, dw] = t.grad([y], [own, w], { gradOutputs: [g.cast(y.dtype)] });
          const product = t.matmul(own.reshape(-1, 64), w.reshape(-1, 64).cast(dtype), { transposeB: true });
          gpu.trace = null;
          const used = names.filter((name) => name.endsWith("matrix")).length;
          return { used, values: await Promise.all([y, dx, dw, product].map((values) => values.floats())) };
        };
        const [half, whole] = [await compute("f16"), await compute("f32")];
        // the product, the convolution, its input gradient in the four phases of its stride, and its weight gradient
        expect(half.used).toBe(7);
        expect(whole.used).toBe(0);
        half.values.forEach((values, i) =>
          expect(relativeError(values, whole.values[i])).toBeLessThan(ROUNDING)
        );
      }));
  });
}
