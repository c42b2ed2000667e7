// Compares every operation, forward and backward, with torch in float64 (fixtures/ops_reference.json, which
// bench/ops_reference.py writes), with odd sizes, batches of two, and channels that do not fill vectors.
import { expect, test } from "bun:test";
import * as t from "../../../src/index.ts";
import { describeDevices } from "../../support/devices.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { golden } from "../../support/goldens.ts";
import { doubleDraws, relativeError } from "../../support/numbers.ts";

interface Input {
  shape: number[];
  scale: number;
  shift: number;
  /** The rows that are 0, if all axes except the last are flattened. */
  zeroRows?: number[];
}

interface Options extends Omit<t.Conv2dOptions, "residual">, t.MatmulOptions {
  groups?: number;
  eps?: number;
  swish?: boolean;
  size?: number;
  ceil?: boolean;
  countPadding?: boolean;
  slope?: number;
  lo?: number;
  hi?: number;
  axes?: number[];
  axis?: number;
  keepDims?: boolean;
  starts?: number[];
  ends?: number[];
  lr?: number;
  betas?: [number, number];
  steps?: number;
}

interface Case {
  name: string;
  op: string;
  options: Options;
  inputs: Record<string, Input>;
  ints?: { indices: number[][] };
  outputs: Record<string, { shape: number[]; values: number[] }>;
  grads?: Record<string, number[]>;
}

type Tensors = Record<string, t.Tensor>;
type Run = (x: Tensors, options: Options) => t.Tensor | Tensors;

/** How each operation of the fixture is called here; unary methods need no entry. */
const runs: Record<string, Run> = {
  conv2d: ({ x, weight, bias, residual }, o) => t.conv2d(x, weight, bias ?? null, { ...o, residual }),
  groupNorm: ({ x, weight, bias }, o) => t.groupNorm(x, weight, bias, o),
  batchNorm: ({ x, weight, bias }, o) => t.batchNorm(x, weight, bias, o),
  attention: ({ q, k, v }) => t.attention(q, k, v),
  softmax: ({ x }) => t.softmax(x),
  matmul: ({ a, b }, o) => t.matmul(a, b, o),
  maxPool2d: ({ x }, { size = 0, stride = 0, ceil }) => t.maxPool2d(x, { size, stride, ceil }),
  avgPool2d: ({ x }, { size = 0, stride = 0, padding, ceil, countPadding }) =>
    t.avgPool2d(x, { size, stride, padding: Number(padding), ceil, countPadding }),
  lpipsDistance: ({ a, b, weight }) => t.lpipsDistance(a, b, weight),
  nearestCode: ({ z, codebook }) => t.nearestCode(z, codebook),
  embedding: ({ table, indices }) => t.embedding(indices, table),
  leakyRelu: ({ x }, o) => t.leakyRelu(x, o.slope),
  clamp: ({ x }, { lo = 0, hi = 0 }) => x.clamp(lo, hi),
  add: ({ a, b }) => a.add(b),
  sub: ({ a, b }) => a.sub(b),
  mul: ({ a, b }) => a.mul(b),
  div: ({ a, b }) => a.div(b),
  sum: ({ x }, o) => x.sum(o.axes, o.keepDims),
  mean: ({ x }, o) => x.mean(o.axes, o.keepDims),
  permute: ({ x }, { axes = [] }) => x.permute(...axes),
  slice: ({ x }, { starts = [], ends = [] }) => x.slice(starts, ends),
  concat: ({ a, b }, { axis = 0 }) => t.concat([a, b], axis),
};

const unary = { ...t } as unknown as Record<string, (x: t.Tensor) => t.Tensor>;

/** How an operation is called: its entry, or the function of one operand. */
const runOf = (op: string): Run => runs[op] ?? (({ x }) => unary[op](x));

/**
 * The largest allowed error, relative to the largest wanted value. f32 rounds to 6e-8, and the sums of some tens of products
 * in these cases lose about ten times as much.
 */
const TOLERANCE = 1e-6;
/** The cases that necessarily lose more. */
const looser: Record<string, number> = {
  // values near 20 lose their last five bits when the mean is subtracted
  "groupNorm/far from zero": 1e-5,
  // the gradient of the bias is a sum of 40 numbers that nearly cancel
  "conv2d/k4 s1": 4e-6,
};

function filled(stream: string, { shape, scale, shift, zeroRows = [] }: Input): Float32Array {
  const columns = shape[shape.length - 1];
  const values = Float32Array.from(
    doubleDraws(stream, shape.reduce((a, b) => a * b, 1)),
    (u) => shift + scale * u,
  );
  for (const row of zeroRows) values.fill(0, row * columns, (row + 1) * columns);
  return values;
}

const { cases } = golden<{ cases: Case[] }>("ops_reference");
const plainDraw = (shape: number[]): Input => ({ shape, scale: 1, shift: 0 });

describeDevices("operations against torch in float64", () => {
  for (const c of cases.filter(({ op }) => op !== "adam")) {
    test(c.name, () => expectNoLeak(() => t.asyncScope(() => check(c))));
  }
});

async function check(c: Case): Promise<void> {
  const tolerance = looser[c.name] ?? TOLERANCE;
  const inputs: Tensors = {};
  for (const [key, input] of Object.entries(c.inputs)) {
    inputs[key] = t.tensor(filled(`${c.name}/${key}`, input), input.shape);
    // the weights of LPIPS are constants, so the operation has no gradient for them
    inputs[key].requiresGrad = c.grads?.[key] !== undefined &&
      !(c.op === "lpipsDistance" && key === "weight");
  }
  if (c.ints) {
    const { indices } = c.ints;
    inputs.indices = t.tensor(Int32Array.from(indices.flat()), [indices.length, indices[0].length]);
  }

  const result = runOf(c.op)(inputs, c.options);
  const outputs: Tensors = result instanceof t.Tensor ? { out: result } : result;
  for (const [key, wanted] of Object.entries(c.outputs)) {
    expect(outputs[key].shape).toEqual(wanted.shape);
    expect(relativeError(await outputs[key].data(), wanted.values)).toBeLessThanOrEqual(tolerance);
  }

  const learning = Object.keys(inputs).filter((key) => inputs[key].requiresGrad);
  if (learning.length === 0) return;
  const { shape } = c.outputs.out;
  const stream = Object.keys(c.outputs).length === 1 ? `${c.name}/w` : `${c.name}/w.out`;
  t.backward(outputs.out, [t.tensor(filled(stream, plainDraw(shape)), shape)]);
  for (const key of learning) {
    const { grad } = inputs[key];
    expect(grad?.shape).toEqual(inputs[key].shape);
    expect(relativeError(await grad!.data(), c.grads![key])).toBeLessThanOrEqual(tolerance);
    grad!.dispose();
  }
}

describeDevices("Adam against torch in float64", () => {
  for (const c of cases.filter(({ op }) => op === "adam")) {
    test(c.name, () =>
      t.asyncScope(async () => {
        const { lr = 0, betas: [beta1, beta2] = [0, 0], eps = 0, steps = 0 } = c.options;
        const { shape } = c.inputs.p;
        const p = t.tensor(filled(`${c.name}/p`, c.inputs.p), shape);
        const expAvg = t.zeros(shape), expAvgSq = t.zeros(shape);
        for (let step = 1; step <= steps; step++) {
          const g = t.tensor(filled(`${c.name}/g${step - 1}`, c.inputs[`g${step - 1}`]), shape);
          t.adamStep(p, g, expAvg, expAvgSq, { lr, beta1, beta2, eps, step });
        }
        for (const [key, value] of Object.entries({ p, expAvg, expAvgSq })) {
          expect(relativeError(await value.floats(), c.outputs[key].values)).toBeLessThanOrEqual(TOLERANCE);
        }
      }));
  }
});

test("an index outside the table throws in a look-up and in its gradient", () => {
  t.scope(() => {
    const table = t.zeros([4, 3]), rows = t.zeros([2, 3]);
    for (const bad of [4, -1, 2 ** 31 - 1]) {
      const indices = t.tensor(Int32Array.of(0, bad), [2]);
      const message = `index ${bad} at 1 is outside the table of 4 rows: use 0 to 3`;
      expect(() => t.embedding(indices, table)).toThrow(message);
      const call = { indices: indices.slot, rows: rows.slot, table: table.slot, columns: 3 };
      expect(() => table.backend.run("scatterAdd", call)).toThrow(message);
    }
  });
});
