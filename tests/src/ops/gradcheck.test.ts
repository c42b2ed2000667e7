// Every operation's gradient against central differences, in the middle of a graph: something comes before the
// operation and something after it, so that the gradient that reaches it is never 1.
import { expect, test } from "bun:test";
import * as t from "../../../src/index.ts";
import { describeDevices, draws, expectNoLeak } from "../../support/helpers.ts";

interface Case {
  readonly name: string;
  readonly inputs: readonly t.Shape[];
  readonly run: (...x: t.Tensor[]) => t.Tensor;
  /** Where inputs lie: in [-1, 1]; in [0.5, 1.5]; or all different by at least 0.05, for operations with kinks. */
  readonly domain?: "any" | "positive" | "apart";
}

const indices = (): t.Tensor => t.tensor(Int32Array.of(3, 0, 3, 2, 3), [5]);
const pad = (top: number, bottom: number, left: number, right: number) => [top, bottom, left, right] as const;

const cases: Case[] = [
  { name: "add broadcast", inputs: [[2, 3, 5], [3, 1]], run: (a, b) => a.add(b) },
  { name: "add number", inputs: [[3]], run: (a) => a.add(2) },
  { name: "sub broadcast", inputs: [[3, 1], [2, 3, 5]], run: (a, b) => a.sub(b) },
  { name: "mul rows", inputs: [[4, 5], [5]], run: (a, b) => a.mul(b) },
  { name: "mul columns", inputs: [[4, 5], [4, 1]], run: (a, b) => a.mul(b) },
  { name: "mul by itself", inputs: [[7]], run: (a) => a.mul(a) },
  { name: "div", inputs: [[2, 3], [3]], run: (a, b) => a.div(b), domain: "positive" },
  { name: "maximum", inputs: [[9], [9]], run: (a, b) => t.maximum(a, b.mul(-1)), domain: "apart" },
  { name: "minimum", inputs: [[9], [9]], run: (a, b) => t.minimum(a, b.mul(-1)), domain: "apart" },
  { name: "neg", inputs: [[5]], run: (a) => a.neg() },
  { name: "abs", inputs: [[7]], run: (a) => a.abs(), domain: "apart" },
  { name: "exp", inputs: [[7]], run: (a) => a.exp() },
  { name: "log", inputs: [[7]], run: (a) => a.log(), domain: "positive" },
  { name: "sqrt", inputs: [[7]], run: (a) => a.sqrt(), domain: "positive" },
  { name: "square", inputs: [[7]], run: (a) => a.square() },
  { name: "relu", inputs: [[11]], run: (a) => a.relu(), domain: "apart" },
  { name: "leakyRelu", inputs: [[11]], run: (a) => t.leakyRelu(a, 0.2), domain: "apart" },
  { name: "sigmoid", inputs: [[7]], run: (a) => a.mul(3).sigmoid() },
  { name: "swish", inputs: [[7]], run: (a) => a.mul(3).swish() },
  { name: "tanh", inputs: [[7]], run: (a) => a.mul(2).tanh() },
  { name: "softplus", inputs: [[7]], run: (a) => a.mul(3).softplus() },
  { name: "clamp", inputs: [[11]], run: (a) => a.clamp(-0.52, 0.47), domain: "apart" },
  { name: "sum of all", inputs: [[3, 4]], run: (a) => a.sum() },
  { name: "sum of leading axes", inputs: [[3, 4, 2]], run: (a) => a.sum([0, 1]) },
  { name: "sum of inner axes", inputs: [[3, 4, 2]], run: (a) => a.sum([1, -1], true) },
  { name: "mean", inputs: [[3, 4, 2]], run: (a) => a.mean(1) },
  { name: "softmax", inputs: [[3, 7]], run: (a) => t.softmax(a, 1.7) },
  { name: "reshape", inputs: [[3, 4]], run: (a) => a.reshape(2, -1) },
  { name: "permute", inputs: [[2, 3, 4]], run: (a) => a.permute(2, 0, 1) },
  { name: "reshape of permute", inputs: [[2, 3]], run: (a) => a.permute(1, 0).reshape(6) },
  { name: "slice", inputs: [[4, 5, 3]], run: (a) => a.slice([1, 2], [3, 5]) },
  { name: "expand", inputs: [[3, 1]], run: (a) => a.expand([2, 3, 4]) },
  { name: "concat", inputs: [[2, 3], [2, 2]], run: (a, b) => t.concat([a, b], 1) },
  { name: "matmul", inputs: [[5, 7], [7, 9]], run: (a, b) => t.matmul(a, b) },
  { name: "matmul A^T", inputs: [[7, 5], [7, 9]], run: (a, b) => t.matmul(a, b, { transposeA: true }) },
  { name: "matmul B^T", inputs: [[5, 7], [9, 7]], run: (a, b) => t.matmul(a, b, { transposeB: true }) },
  {
    name: "matmul A^T B^T, batch",
    inputs: [[2, 7, 5], [2, 9, 7]],
    run: (a, b) => t.matmul(a, b, { transposeA: true, transposeB: true }),
  },
  { name: "attention", inputs: [[2, 5, 6], [2, 5, 6], [2, 5, 6]], run: t.attention },
  {
    name: "conv2d 3x3 with bias",
    inputs: [[2, 5, 6, 3], [7, 3, 3, 3], [7]],
    run: (x, w, b) => t.conv2d(x, w, b, { padding: 1 }),
  },
  {
    name: "conv2d with residual",
    inputs: [[1, 4, 5, 4], [4, 4, 3, 3], [1, 4, 5, 4]],
    run: (x, w, r) => t.conv2d(x, w, null, { padding: 1, residual: r }),
  },
  {
    name: "conv2d downsampling",
    inputs: [[1, 6, 8, 5], [6, 5, 3, 3]],
    run: (x, w) => t.conv2d(x, w, null, { stride: 2, padding: pad(0, 1, 0, 1) }),
  },
  {
    name: "conv2d upsampling",
    inputs: [[1, 3, 4, 5], [6, 5, 3, 3], [6]],
    run: (x, w, b) => t.conv2d(x, w, b, { padding: 1, upsample: 2 }),
  },
  {
    name: "conv2d 4x4 stride 2",
    inputs: [[1, 7, 8, 3], [9, 3, 4, 4]],
    run: (x, w) => t.conv2d(x, w, null, { stride: 2, padding: 1 }),
  },
  {
    name: "conv2d 4x4 stride 2, wide border",
    inputs: [[2, 4, 5, 3], [5, 3, 4, 4]],
    run: (x, w) => t.conv2d(x, w, null, { stride: 2, padding: 3 }),
  },
  {
    name: "conv2d 2x1 stride 3: some pixels are never read",
    inputs: [[2, 8, 7, 4], [5, 4, 2, 1]],
    run: (x, w) => t.conv2d(x, w, null, { stride: 3 }),
  },
  {
    name: "conv2d 4x4",
    inputs: [[1, 5, 5, 3], [1, 3, 4, 4]],
    run: (x, w) => t.conv2d(x, w, null, { padding: 1 }),
  },
  {
    name: "conv2d of a picture",
    inputs: [[2, 4, 3, 3], [8, 3, 2, 1], [8]],
    run: (x, w, b) => t.conv2d(x, w, b, { padding: 1 }),
  },
  {
    name: "conv2d to one channel, stride 2",
    inputs: [[1, 5, 4, 4], [1, 4, 3, 3]],
    run: (x, w) => t.conv2d(x, w, null, { stride: 2, padding: pad(0, 1, 0, 1) }),
  },
  {
    name: "conv2d of a picture, upsampling",
    inputs: [[1, 3, 2, 1], [5, 1, 3, 3]],
    run: (x, w) => t.conv2d(x, w, null, { padding: 1, upsample: 2 }),
  },
  { name: "conv2d 1x1", inputs: [[2, 3, 4, 6], [10, 6, 1, 1]], run: (x, w) => t.conv2d(x, w, null) },
  {
    name: "groupNorm",
    inputs: [[2, 3, 4, 6], [6], [6]],
    run: (x, w, b) => t.groupNorm(x, w, b, { groups: 3 }),
  },
  {
    name: "groupNorm with swish",
    inputs: [[2, 4, 5, 8], [8], [8]],
    run: (x, w, b) => t.groupNorm(x, w, b, { groups: 2, swish: true }),
  },
  {
    name: "conv2d of groupNorm (computed again in backward)",
    inputs: [[1, 4, 4, 8], [8], [8], [5, 8, 3, 3]],
    run: (x, w, b, k) =>
      t.scope(() => t.conv2d(t.groupNorm(x, w, b, { groups: 4, swish: true }), k, null, { padding: 1 })),
  },
  { name: "batchNorm", inputs: [[2, 3, 4, 5], [5], [5]], run: (x, w, b) => t.batchNorm(x, w, b).out },
  {
    name: "maxPool2d",
    inputs: [[2, 4, 6, 5]],
    run: (x) => t.maxPool2d(x, { size: 2, stride: 2 }),
    domain: "apart",
  },
  {
    name: "maxPool2d overlapping, ceil",
    inputs: [[1, 6, 6, 6]],
    run: (x) => t.maxPool2d(x, { size: 3, stride: 2, ceil: true }),
    domain: "apart",
  },
  { name: "embedding", inputs: [[4, 3]], run: (table) => t.embedding(indices(), table) },
  {
    name: "lpipsDistance",
    inputs: [[2, 3, 2, 7], [2, 3, 2, 7]],
    run: (a, b) => t.lpipsDistance(a, b, t.tensor(draws("lin", 7)).abs()),
  },
  {
    name: "checkpoint",
    inputs: [[3, 4], [4, 5]],
    run: (a, b) => t.checkpoint((x, w) => t.matmul(x.square(), w).swish(), a, b),
  },
];

function values(key: string, n: number, domain: Case["domain"]): Float32Array {
  const u = draws(key, n);
  if (domain === "positive") return u.map((x) => 1 + x / 2);
  if (domain !== "apart") return u;
  // ranks of the draws, spread over multiples of 0.1 that avoid 0
  const order = [...u.keys()].sort((a, b) => u[a] - u[b]);
  const out = new Float32Array(n);
  order.forEach((at, rank) => out[at] = (rank - Math.floor(n / 2) + 0.5) / 10);
  return out;
}

describeDevices("gradients against central differences", () => {
  for (const c of cases) {
    test(c.name, async () => {
      await expectNoLeak(async () => {
        const inputs = c.inputs.map((shape, i) =>
          t.tensor(values(`${c.name}/${i}`, shape.reduce((a, b) => a * b, 1), c.domain), shape, {
            requiresGrad: true,
          })
        );
        const graph = () => {
          const out = c.run(...inputs.map((x) => x.mul(1.25)));
          const weights = t.tensor(draws(`${c.name}/w`, out.size), out.shape);
          return out.mul(weights).mul(0.5).sum();
        };
        t.scope(() => t.backward(graph()));
        for (const x of inputs) {
          const [analytic, at] = [await x.grad!.floats(), await x.floats()];
          const scale = Math.max(0.1, ...analytic.map(Math.abs));
          const value = (i: number, moved: number) => {
            const values = at.slice();
            values[i] = moved;
            x.write(values);
            return t.noGrad(() => t.scope(() => graph().reshape(1)));
          };
          // every third element is enough to see an error and keeps the suite quick
          const places = [...at.keys()].filter((i) => x.size <= 60 || i % 3 === 0);
          const h = 0.01, low = at.map((v) => v - h), high = at.map((v) => v + h);
          const losses = places.flatMap((i) => [value(i, low[i]), value(i, high[i])]);
          x.write(at);
          const all = t.concat(losses, 0), read = await all.floats(); // at once: a GPU answers slowly
          for (const loss of [...losses, all]) loss.dispose();
          for (const [n, i] of places.entries()) {
            const numeric = (read[2 * n + 1] - read[2 * n]) / (high[i] - low[i]);
            expect(Math.abs(numeric - analytic[i]) / scale).toBeLessThan(3e-3);
          }
        }
        for (const x of inputs) {
          x.grad?.dispose();
          x.dispose();
        }
      });
    });
  }
});
