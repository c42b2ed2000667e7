// The test cases of every operation. If an export of src/ops/index.ts had no entry, this file would not compile.
// gradcheck.test.ts runs the cases forward and backward on every device.
import * as t from "../../../src/index.ts";
import type * as ops from "../../../src/ops/index.ts";
import { draws } from "../../support/numbers.ts";

export interface OpCase {
  readonly name: string;
  readonly inputs: readonly t.Shape[];
  readonly run: (...x: t.Tensor[]) => t.Tensor;
  /** Values of the inputs: in [-1, 1]; in [0.5, 1.5]; or all different by at least 0.05, for operations with kinks. */
  readonly domain?: "any" | "positive" | "apart";
  /** The result by the definition, in plain JavaScript, if it is not in fixtures/ops_reference.json. */
  readonly wanted?: (...x: Float32Array[]) => ArrayLike<number>;
}

/** The gradient is either checked against central differences, or there is a reason why the operation has none. */
export type OpTests =
  | { readonly gradient: "checked"; readonly cases: readonly [OpCase, ...OpCase[]] }
  | {
    readonly gradient: { readonly none: string; readonly testedIn?: string };
    readonly cases: readonly OpCase[];
  };

const indices = (): t.Tensor => t.tensor(Int32Array.of(3, 0, 3, 2, 3), [5]);
const pad = (top: number, bottom: number, left: number, right: number) => [top, bottom, left, right] as const;

/** A case of average pooling from a shape to a height and width, with the result computed by counting pixels. */
function averagePool(
  name: string,
  shape: readonly [number, number, number, number],
  [outHeight, outWidth]: readonly [number, number],
  options: t.AvgPoolOptions,
): OpCase {
  const [batch, height, width, channels] = shape;
  const { size, stride, padding = 0, countPadding = true } = options;
  const average = (x: Float32Array, b: number, top: number, left: number, c: number) => {
    let sum = 0, count = 0;
    for (let y = top; y < top + size; y++) {
      for (let column = left; column < left + size; column++) {
        const isInside = y >= 0 && y < height && column >= 0 && column < width;
        const isPadding = !isInside && y < height + padding && column < width + padding;
        if (isInside) sum += x[((b * height + y) * width + column) * channels + c];
        if (isInside || (isPadding && countPadding)) count++;
      }
    }
    return sum / count;
  };
  return {
    name: `avgPool2d ${name}`,
    inputs: [shape],
    run: (x) => t.avgPool2d(x, options),
    wanted: (x) => {
      const out: number[] = [];
      for (let b = 0; b < batch; b++) {
        for (let oy = 0; oy < outHeight; oy++) {
          for (let ox = 0; ox < outWidth; ox++) {
            const [top, left] = [oy, ox].map((o) => o * stride - padding);
            for (let c = 0; c < channels; c++) out.push(average(x, b, top, left, c));
          }
        }
      }
      return out;
    },
  };
}

/** conv2d by its definition, for an image [1, H, W, I] and a weight [O, I / groups, kh, kw]. */
function convolved(
  [height, width, channels]: readonly [number, number, number],
  [outputs, inputs, kh, kw]: readonly [number, number, number, number],
  { stride, padding: [top, bottom, left, right] }: { stride: number; padding: ReturnType<typeof pad> },
  x: Float32Array,
  w: Float32Array,
): number[] {
  const out: number[] = [], groups = channels / inputs;
  const pixel = (y: number, x: number) => (y < 0 || y >= height || x < 0 || x >= width) ? -1 : y * width + x;
  for (let y = -top; y + kh <= height + bottom; y += stride) {
    for (let column = -left; column + kw <= width + right; column += stride) {
      for (let o = 0; o < outputs; o++) {
        const first = Math.floor(o / (outputs / groups)) * inputs;
        let sum = 0;
        for (let k = 0; k < inputs; k++) {
          for (let tap = 0; tap < kh * kw; tap++) {
            const at = pixel(y + Math.floor(tap / kw), column + tap % kw);
            if (at >= 0) sum += x[at * channels + first + k] * w[(o * inputs + k) * kh * kw + tap];
          }
        }
        out.push(sum);
      }
    }
  }
  return out;
}

export const opTests: { readonly [K in keyof typeof ops]: OpTests } = {
  abs: {
    gradient: "checked",
    cases: [
      { name: "abs", inputs: [[7]], run: (a) => a.abs(), domain: "apart" },
    ],
  },
  add: {
    gradient: "checked",
    cases: [
      { name: "add broadcast", inputs: [[2, 3, 5], [3, 1]], run: (a, b) => a.add(b) },
      { name: "add number", inputs: [[3]], run: (a) => a.add(2) },
    ],
  },
  affine: {
    gradient: "checked",
    cases: [
      {
        name: "affine",
        inputs: [[2, 5]],
        run: (a) => t.affine(a, -1.5, 0.25),
        wanted: (a) => a.map((x) => -1.5 * x + 0.25),
      },
    ],
  },
  adamStep: {
    gradient: {
      none: "it changes parameters in place, outside the graph",
      testedIn: "tests/src/ops/ops.test.ts",
    },
    cases: [],
  },
  argmax: {
    gradient: { none: "an index has no derivative" },
    cases: [1, 7, 70, 1000].map((columns) => ({
      name: `argmax of ${columns}`,
      inputs: [[2, 3, columns]],
      run: t.argmax,
      wanted: (x: Float32Array) =>
        Array.from({ length: 6 }, (_, r) => {
          const row = [...x.slice(r * columns, (r + 1) * columns)];
          return row.indexOf(Math.max(...row));
        }),
    })),
  },
  attention: {
    gradient: "checked",
    cases: [
      { name: "attention", inputs: [[2, 5, 6], [2, 5, 6], [2, 5, 6]], run: t.attention },
    ],
  },
  avgPool2d: {
    gradient: "checked",
    cases: [
      averagePool("2x2", [2, 4, 6, 5], [2, 3], { size: 2, stride: 2 }),
      averagePool("2x2, odd sides", [1, 5, 7, 8], [2, 3], { size: 2, stride: 2 }),
      averagePool("1x1 stride 2", [1, 3, 4, 18], [2, 2], { size: 1, stride: 2 }),
      averagePool("overlapping, padding", [2, 5, 4, 3], [5, 4], { size: 3, stride: 1, padding: 1 }),
      averagePool("padding that does not count", [1, 5, 6, 6], [3, 3], {
        size: 3,
        stride: 2,
        padding: 1,
        countPadding: false,
      }),
      averagePool("ceil", [1, 6, 8, 4], [3, 4], { size: 3, stride: 2, ceil: true }),
      averagePool("ceil, padding", [1, 6, 4, 7], [4, 3], { size: 3, stride: 2, padding: 1, ceil: true }),
      averagePool("ceil, padding that does not count", [1, 6, 4, 7], [4, 3], {
        size: 3,
        stride: 2,
        padding: 1,
        ceil: true,
        countPadding: false,
      }),
      averagePool("ceil, no window begins beyond the picture", [1, 3, 5, 4], [2, 2], {
        size: 2,
        stride: 3,
        padding: 1,
        ceil: true,
      }),
      averagePool("one window larger than the picture", [2, 2, 2, 5], [1, 1], {
        size: 3,
        stride: 2,
        ceil: true,
      }),
    ],
  },
  batchNorm: {
    gradient: "checked",
    cases: [
      { name: "batchNorm", inputs: [[2, 3, 4, 5], [5], [5]], run: (x, w, b) => t.batchNorm(x, w, b).out },
    ],
  },
  cast: {
    gradient: {
      none: "f32 to f32 is the tensor itself; f16 needs a GPU that has it",
      testedIn: "tests/src/backends/webgpu/f16.test.ts",
    },
    cases: [],
  },
  clamp: {
    gradient: "checked",
    cases: [
      { name: "clamp", inputs: [[11]], run: (a) => a.clamp(-0.52, 0.47), domain: "apart" },
    ],
  },
  concat: {
    gradient: "checked",
    cases: [
      { name: "concat", inputs: [[2, 3], [2, 2]], run: (a, b) => t.concat([a, b], 1) },
    ],
  },
  conv2d: {
    gradient: "checked",
    cases: [
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
        name: "conv2d with a stride larger than the picture",
        inputs: [[2, 3, 2, 4], [5, 4, 2, 1]],
        run: (x, w) => t.conv2d(x, w, null, { stride: 20_000, padding: 1 }),
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
      {
        name: "conv2d in two groups",
        inputs: [[2, 5, 4, 6], [8, 3, 3, 3], [8]],
        run: (x, w, b) => t.conv2d(x, w, b, { groups: 2, padding: 1 }),
      },
      {
        name: "conv2d in two groups of odd channels, stride 2",
        inputs: [[1, 5, 6, 10], [6, 5, 3, 2]],
        run: (x, w) => t.conv2d(x, w, null, { groups: 2, stride: 2, padding: pad(1, 0, 0, 2) }),
        wanted: (x, w) => convolved([5, 6, 10], [6, 5, 3, 2], { stride: 2, padding: pad(1, 0, 0, 2) }, x, w),
      },
      {
        name: "conv2d in two wide groups with residual",
        inputs: [[1, 6, 5, 16], [24, 8, 3, 3], [24], [1, 6, 5, 24]],
        run: (x, w, b, residual) => t.conv2d(x, w, b, { groups: 2, padding: 1, residual }),
      },
      {
        name: "conv2d in three wide groups, stride 2",
        inputs: [[2, 5, 4, 27], [30, 9, 2, 2], [30]],
        run: (x, w, b) => t.conv2d(x, w, b, { groups: 3, stride: 2, padding: pad(0, 1, 1, 0) }),
      },
      {
        name: "conv2d in two groups, 2x1 stride 3: some pixels are never read",
        inputs: [[2, 8, 7, 20], [18, 10, 2, 1]],
        run: (x, w) => t.conv2d(x, w, null, { groups: 2, stride: 3 }),
      },
      {
        name: "conv2d in groups with one output each",
        inputs: [[1, 3, 4, 15], [5, 3, 2, 2], [5]],
        run: (x, w, b) => t.conv2d(x, w, b, { groups: 5 }),
      },
      {
        name: "conv2d in groups, 1x1",
        inputs: [[1, 4, 3, 8], [12, 2, 1, 1], [12]],
        run: (x, w, b) => t.conv2d(x, w, b, { groups: 4 }),
      },
      {
        name: "conv2d depthwise",
        inputs: [[1, 5, 6, 8], [8, 1, 3, 3]],
        run: (x, w) => t.conv2d(x, w, null, { groups: 8, padding: 1 }),
        wanted: (x, w) => convolved([5, 6, 8], [8, 1, 3, 3], { stride: 1, padding: pad(1, 1, 1, 1) }, x, w),
      },
      {
        name: "conv2d depthwise of odd channels with bias and residual",
        inputs: [[2, 4, 5, 23], [23, 1, 3, 3], [23], [2, 4, 5, 23]],
        run: (x, w, b, residual) => t.conv2d(x, w, b, { groups: 23, padding: 1, residual }),
      },
      {
        name: "conv2d depthwise with multiplier 3, stride 2",
        inputs: [[1, 5, 7, 3], [9, 1, 3, 3]],
        run: (x, w) => t.conv2d(x, w, null, { groups: 3, stride: 2, padding: pad(0, 1, 2, 1) }),
        wanted: (x, w) => convolved([5, 7, 3], [9, 1, 3, 3], { stride: 2, padding: pad(0, 1, 2, 1) }, x, w),
      },
      {
        name: "conv2d depthwise with multiplier 4 and residual",
        inputs: [[1, 3, 4, 2], [8, 1, 2, 2], [8], [1, 4, 5, 8]],
        run: (x, w, b, residual) => t.conv2d(x, w, b, { groups: 2, padding: 1, residual }),
      },
      {
        name: "conv2d depthwise, 2x1 stride 3: some pixels are never read",
        inputs: [[2, 8, 7, 5], [5, 1, 2, 1]],
        run: (x, w) => t.conv2d(x, w, null, { groups: 5, stride: 3 }),
      },
      {
        name: "conv2d depthwise, filter larger than the picture",
        inputs: [[1, 2, 3, 4], [4, 1, 5, 5]],
        run: (x, w) => t.conv2d(x, w, null, { groups: 4, padding: 2 }),
      },
      { name: "conv2d 1x1", inputs: [[2, 3, 4, 6], [10, 6, 1, 1]], run: (x, w) => t.conv2d(x, w, null) },
      {
        name: "conv2d of groupNorm (computed again in backward)",
        inputs: [[1, 4, 4, 8], [8], [8], [5, 8, 3, 3]],
        run: (x, w, b, k) =>
          t.scope(() => t.conv2d(t.groupNorm(x, w, b, { groups: 4, swish: true }), k, null, { padding: 1 })),
      },
    ],
  },
  div: {
    gradient: "checked",
    cases: [
      { name: "div", inputs: [[2, 3], [3]], run: (a, b) => a.div(b), domain: "positive" },
    ],
  },
  embedding: {
    gradient: "checked",
    cases: [
      { name: "embedding", inputs: [[4, 3]], run: (table) => t.embedding(indices(), table) },
    ],
  },
  equal: {
    gradient: { none: "a comparison is constant wherever it has a derivative" },
    cases: [{
      name: "equal",
      inputs: [[6], [6]],
      run: (a, b) => t.equal(a, t.maximum(a, b)),
      wanted: (a, b) => a.map((x, i) => Number(x >= b[i])),
    }],
  },
  exp: {
    gradient: "checked",
    cases: [
      { name: "exp", inputs: [[7]], run: (a) => a.exp() },
    ],
  },
  expand: {
    gradient: "checked",
    cases: [
      { name: "expand", inputs: [[3, 1]], run: (a) => a.expand([2, 3, 4]) },
    ],
  },
  greater: {
    gradient: { none: "a comparison is constant wherever it has a derivative" },
    cases: [{
      name: "greater",
      inputs: [[2, 3], [3]],
      run: (a, b) => t.greater(a, b),
      wanted: (a, b) => a.map((x, i) => Number(x > b[i % 3])),
    }],
  },
  groupNorm: {
    gradient: "checked",
    cases: [
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
    ],
  },
  leakyRelu: {
    gradient: "checked",
    cases: [
      { name: "leakyRelu", inputs: [[11]], run: (a) => t.leakyRelu(a, 0.2), domain: "apart" },
    ],
  },
  log: {
    gradient: "checked",
    cases: [
      { name: "log", inputs: [[7]], run: (a) => a.log(), domain: "positive" },
    ],
  },
  lpipsDistance: {
    gradient: "checked",
    cases: [
      {
        name: "lpipsDistance",
        inputs: [[2, 3, 2, 7], [2, 3, 2, 7]],
        run: (a, b) => t.lpipsDistance(a, b, t.tensor(draws("lin", 7)).abs()),
      },
    ],
  },
  lpipsMap: {
    gradient: "checked",
    cases: [
      {
        name: "lpipsMap",
        inputs: [[2, 3, 2, 7], [2, 3, 2, 7]],
        run: (a, b) => t.lpipsMap(a, b, t.tensor(draws("lin", 7)).abs()),
        wanted: (a, b) => {
          const weight = draws("lin", 7).map(Math.abs);
          return Float32Array.from({ length: 12 }, (_, pixel) => {
            const [left, right] = [a, b].map((x) => x.subarray(7 * pixel, 7 * pixel + 7));
            const [m, n] = [left, right].map((x) => Math.hypot(...x));
            return weight.reduce((sum, w, c) => sum + w * (left[c] / m - right[c] / n) ** 2, 0);
          });
        },
      },
    ],
  },
  matmul: {
    gradient: "checked",
    cases: [
      { name: "matmul", inputs: [[5, 7], [7, 9]], run: (a, b) => t.matmul(a, b) },
      { name: "matmul A^T", inputs: [[7, 5], [7, 9]], run: (a, b) => t.matmul(a, b, { transposeA: true }) },
      { name: "matmul B^T", inputs: [[5, 7], [9, 7]], run: (a, b) => t.matmul(a, b, { transposeB: true }) },
      {
        name: "matmul A^T B^T, batch",
        inputs: [[2, 7, 5], [2, 9, 7]],
        run: (a, b) => t.matmul(a, b, { transposeA: true, transposeB: true }),
      },
    ],
  },
  maximum: {
    gradient: "checked",
    cases: [
      { name: "maximum", inputs: [[9], [9]], run: (a, b) => t.maximum(a, b.mul(-1)), domain: "apart" },
    ],
  },
  maxPool2d: {
    gradient: "checked",
    cases: [
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
    ],
  },
  mean: {
    gradient: "checked",
    cases: [
      { name: "mean", inputs: [[3, 4, 2]], run: (a) => a.mean(1) },
    ],
  },
  minimum: {
    gradient: "checked",
    cases: [
      { name: "minimum", inputs: [[9], [9]], run: (a, b) => t.minimum(a, b.mul(-1)), domain: "apart" },
    ],
  },
  mul: {
    gradient: "checked",
    cases: [
      { name: "mul rows", inputs: [[4, 5], [5]], run: (a, b) => a.mul(b) },
      { name: "mul columns", inputs: [[4, 5], [4, 1]], run: (a, b) => a.mul(b) },
      { name: "mul by itself", inputs: [[7]], run: (a) => a.mul(a) },
    ],
  },
  nearestCode: {
    gradient: { none: "an index has no derivative" },
    cases: [{
      name: "nearestCode",
      inputs: [[7, 3], [5, 3]],
      run: (z, codes) => t.nearestCode(z, codes),
      wanted: (z, codes) =>
        Array.from({ length: 7 }, (_, n) => {
          const far = Array.from({ length: 5 }, (_, k) => {
            return [0, 1, 2].reduce((sum, c) => sum + (z[3 * n + c] - codes[3 * k + c]) ** 2, 0);
          });
          return far.indexOf(Math.min(...far));
        }),
    }],
  },
  neg: {
    gradient: "checked",
    cases: [
      { name: "neg", inputs: [[5]], run: (a) => a.neg() },
    ],
  },
  permute: {
    gradient: "checked",
    cases: [
      { name: "permute", inputs: [[2, 3, 4]], run: (a) => a.permute(2, 0, 1) },
    ],
  },
  relu: {
    gradient: "checked",
    cases: [
      { name: "relu", inputs: [[11]], run: (a) => a.relu(), domain: "apart" },
    ],
  },
  reshape: {
    gradient: "checked",
    cases: [
      { name: "reshape", inputs: [[3, 4]], run: (a) => a.reshape(2, -1) },
      { name: "reshape of permute", inputs: [[2, 3]], run: (a) => a.permute(1, 0).reshape(6) },
    ],
  },
  sigmoid: {
    gradient: "checked",
    cases: [
      { name: "sigmoid", inputs: [[7]], run: (a) => a.mul(3).sigmoid() },
    ],
  },
  slice: {
    gradient: "checked",
    cases: [
      { name: "slice", inputs: [[4, 5, 3]], run: (a) => a.slice([1, 2], [3, 5]) },
    ],
  },
  softmax: {
    gradient: "checked",
    cases: [
      { name: "softmax", inputs: [[3, 7]], run: (a) => t.softmax(a, 1.7) },
    ],
  },
  softplus: {
    gradient: "checked",
    cases: [
      { name: "softplus", inputs: [[7]], run: (a) => a.mul(3).softplus() },
    ],
  },
  sqrt: {
    gradient: "checked",
    cases: [
      { name: "sqrt", inputs: [[7]], run: (a) => a.sqrt(), domain: "positive" },
    ],
  },
  square: {
    gradient: "checked",
    cases: [
      { name: "square", inputs: [[7]], run: (a) => a.square() },
    ],
  },
  sub: {
    gradient: "checked",
    cases: [
      { name: "sub broadcast", inputs: [[3, 1], [2, 3, 5]], run: (a, b) => a.sub(b) },
    ],
  },
  sum: {
    gradient: "checked",
    cases: [
      { name: "sum of all", inputs: [[3, 4]], run: (a) => a.sum() },
      { name: "sum of leading axes", inputs: [[3, 4, 2]], run: (a) => a.sum([0, 1]) },
      { name: "sum of inner axes", inputs: [[3, 4, 2]], run: (a) => a.sum([1, -1], true) },
    ],
  },
  swish: {
    gradient: "checked",
    cases: [
      { name: "swish", inputs: [[7]], run: (a) => a.mul(3).swish() },
    ],
  },
  tanh: {
    gradient: "checked",
    cases: [
      { name: "tanh", inputs: [[7]], run: (a) => a.mul(2).tanh() },
    ],
  },
};
