// Runs every kernel on operands that begin and end inside larger buffers: it must give the same bits as on buffers of their
// own, and must write nothing around its operands. Operands that are outside their buffers must be refused.
import { expect, test } from "bun:test";
import type { Backend } from "../../../src/backends/backend.ts";
import type { Buffer, Slot } from "../../../src/backends/buffer.ts";
import { CountingBackend } from "../../../src/backends/counting.ts";
import { kernels } from "../../../src/backends/facts.ts";
import type { Calls, ConvSpec, KernelName } from "../../../src/backends/kernels.ts";
import { withBackend } from "../../../src/device.ts";
import { backward, device, ones, Random, scope, tensor } from "../../../src/index.ts";
import { sizeOf } from "../../../src/shape.ts";
import { describeDevices } from "../../support/devices.ts";
import { type OpCase, opTests } from "../ops/cases.ts";

/** Makes operands: `length` random numbers, or the given indices. */
interface Maker {
  floats(length: number): Slot;
  ints(values: readonly number[]): Slot;
}

const walk = { outer: 0, inner: 1 } as const;

/** A convolution that keeps the size of its input, or enlarges it. */
const conv = (inputs: number, outputs: number, size: number, upsample: 1 | 2 = 1): ConvSpec => ({
  batch: 2,
  height: size,
  width: size + 1,
  inChannels: inputs,
  outHeight: size * upsample,
  outWidth: (size + 1) * upsample,
  outChannels: outputs,
  kernel: [3, 3],
  stride: 1,
  padTop: 1,
  padLeft: 1,
  upsample,
});
/** The first has few channels and is computed by the definition; the others by Winograd, on small and large maps. */
const convs = [conv(3, 5, 6), conv(8, 9, 6), conv(8, 9, 26), conv(8, 9, 6, 2)];
const inputOf = (s: ConvSpec) => s.batch * s.height * s.width * s.inChannels;
const outputOf = (s: ConvSpec) => s.batch * s.outHeight * s.outWidth * s.outChannels;
const weightOf = (s: ConvSpec) => s.outChannels * s.inChannels * s.kernel[0] * s.kernel[1];

const norm = { batch: 2, pixels: 35, channels: 10, groups: 5, eps: 1e-6, swish: true };
const normSize = norm.batch * norm.pixels * norm.channels, normStats = norm.batch * norm.groups * 2;

type Make<K extends KernelName> = (make: Maker) => readonly Calls[K][];

/**
 * Calls with sizes that are no multiples of a vector. Kernels without an entry here are called in the same way as by the test
 * cases of their operations (ops/cases.ts). Kernels that read indices need an entry.
 */
const chosen: { readonly [K in KernelName]?: Make<K> } = {
  fill: (m) => [{ out: m.floats(7), value: 2 }],
  unary: (m) => [{ op: "swish", x: m.floats(16391), out: m.floats(16391), p0: 0, p1: 0 }],
  binary: (m) => {
    const row = { op: "sub", aWalk: { outer: 5, inner: 1 }, bWalk: walk, outer: 7, inner: 5, p0: 0 } as const;
    return [{ ...row, a: m.floats(35), b: m.floats(5), out: m.floats(35) }];
  },
  copy: (m) => {
    const strides = { xStrides: [1, 5], outStrides: [7, 1], shape: [5, 7] };
    return [{ ...strides, x: m.floats(35), out: m.floats(35) }];
  },
  sumRows: (m) => [
    { x: m.floats(15), out: m.floats(3), rows: 3, columns: 5 },
    { x: m.floats(9001), out: m.floats(1), rows: 1, columns: 9001 },
  ],
  sumColumns: (m) => [{ x: m.floats(1503), out: m.floats(3), rows: 501, columns: 3 }],
  gather: (m) => [{ indices: m.ints([3, 0, 1]), table: m.floats(20), out: m.floats(15), columns: 5 }],
  scatterAdd: (m) => [{ indices: m.ints([3, 0, 3]), rows: m.floats(15), table: m.floats(20), columns: 5 }],
  matmul: (m) =>
    [false, true].map((transposeB) => {
      const sizes = { m: 7, k: 5, n: 9, transposeB };
      return { ...sizes, a: m.floats(35), b: m.floats(45), out: m.floats(63) };
    }),
  conv2d: (m) =>
    convs.map((spec) => {
      const more = { bias: m.floats(spec.outChannels), residual: m.floats(outputOf(spec)), spec };
      const [x, weight, out] = [inputOf(spec), weightOf(spec), outputOf(spec)].map((n) => m.floats(n));
      return { x, weight, out, ...more };
    }),
  conv2dInputGrad: (m) =>
    convs.map((spec) => {
      const [g, weight, out] = [outputOf(spec), weightOf(spec), inputOf(spec)].map((n) => m.floats(n));
      return { g, weight, out, spec };
    }),
  conv2dWeightGrad: (m) =>
    convs.map((spec) => {
      const [x, g, out] = [inputOf(spec), outputOf(spec), weightOf(spec)].map((n) => m.floats(n));
      return { x, g, out, spec };
    }),
  nearestCode: (m) => [
    {
      z: m.floats(35),
      codebook: m.floats(55),
      out: m.ints([0, 0, 0, 0, 0, 0, 0]),
      count: 7,
      codes: 11,
      channels: 5,
    },
  ],
  groupNorm: (m) => [{ ...normInputs(m), out: m.floats(normSize), stats: m.floats(normStats), spec: norm }],
  groupNormStats: (m) => [{ x: m.floats(normSize), stats: m.floats(normStats), spec: norm }],
  groupNormApply: (
    m,
  ) => [{ ...normInputs(m), stats: m.floats(normStats), out: m.floats(normSize), spec: norm }],
  groupNormGrad: (m) => {
    const [stats, g, xGrad] = [normStats, normSize, normSize].map((n) => m.floats(n));
    const [weightGrad, biasGrad] = [m.floats(norm.channels), m.floats(norm.channels)];
    return [{ ...normInputs(m), stats, g, xGrad, weightGrad, biasGrad, spec: norm }];
  },
  lpipsDistance: (m) => {
    const [a, b, weight, out] = [35, 35, 5, 7].map((n) => m.floats(n));
    return [{ a, b, weight, out, pixels: 7, channels: 5 }];
  },
  lpipsDistanceGrad: (m) => {
    const [a, b, weight, g, out] = [35, 35, 5, 7, 35].map((n) => m.floats(n));
    return [{ a, b, weight, g, out, pixels: 7, channels: 5 }];
  },
  adam: (m) => {
    const [param, grad, expAvg, expAvgSq] = [0, 1, 2, 3].map(() => m.floats(16391));
    return [{ param, grad, expAvg, expAvgSq, spec: { lr: 0.1, beta1: 0.5, beta2: 0.9, eps: 1e-8, step: 2 } }];
  },
};

/** The calls of each kernel that operations make, forward and backward, recorded on a device that computes nothing. */
const recorded = new Map<KernelName, Calls[KernelName][]>();
const recorder = new CountingBackend();
const count = recorder.run.bind(recorder);
recorder.run = <K extends KernelName>(name: K, call: Calls[K]) => {
  recorded.set(name, [...recorded.get(name) ?? [], call]);
  count(name, call);
};
withBackend(recorder, () => {
  for (const { inputs, run } of Object.values(opTests).flatMap(({ cases }): readonly OpCase[] => cases)) {
    scope(() => {
      const out = run(
        ...inputs.map((shape) => tensor(new Float32Array(sizeOf(shape)), shape, { requiresGrad: true })),
      );
      if (out.node) backward(out, [ones(out.shape)]);
    });
  }
});

/** Whether a value of a call is an operand; an optional one may be null. */
const isSlot = (value: unknown): value is Slot =>
  typeof value === "object" && value !== null && "buffer" in value;

/** Repeats a recorded call with other operands. */
function again<K extends KernelName>(call: Calls[K], make: Maker): Calls[K] {
  const own = new Map<Buffer, Slot>();
  const operand = ({ buffer, length }: Slot) => {
    const slot = own.get(buffer) ?? make.floats(length);
    own.set(buffer, slot);
    return slot;
  };
  return Object.fromEntries(
    Object.entries(call).map(([key, value]) => [key, isSlot(value) ? operand(value) : value]),
  ) as Calls[K];
}

/** The calls of a kernel. */
function callsOf<K extends KernelName>(name: K, make: Maker): readonly Calls[K][] {
  return chosen[name]?.(make) ?? (recorded.get(name) ?? []).map((call) => again(call as Calls[K], make));
}

test("every kernel is called by the test cases of some operation", () => {
  const uncalled = (Object.keys(kernels) as KernelName[]).filter((name) =>
    !recorded.has(name) && !chosen[name]
  );
  expect(uncalled).toEqual([]);
});

function normInputs(m: Maker) {
  const [x, weight, bias] = [normSize, norm.channels, norm.channels].map((n) => m.floats(n));
  return { x, weight, bias };
}

/** The number of elements before and after an operand, and their value. */
const BEFORE = 5, AFTER = 9, GUARD = 0x12345678;

/** Runs all calls of a kernel, and returns the operands of every buffer afterwards. */
async function results<K extends KernelName>(
  backend: Backend,
  name: K,
  around: boolean,
): Promise<Int32Array[]> {
  const random = new Random(1), slots: Slot[] = [];
  const [before, after] = around ? [BEFORE, AFTER] : [0, 0];
  const ints = (values: Int32Array): Slot => {
    const length = values.length, buffer = backend.alloc((before + length + after) * 4);
    backend.write(buffer, new Int32Array(before + length + after).fill(GUARD), 0);
    backend.write(buffer, values, before);
    slots.push({ buffer, offset: before, length, itemBytes: 4 });
    return slots.at(-1)!;
  };
  const floats = (length: number) =>
    ints(new Int32Array(Float32Array.from({ length }, () => random.next()).buffer));
  const all = callsOf(name, { floats, ints: (values) => ints(Int32Array.from(values)) });
  for (const call of all) backend.run(name, call);
  const values: Int32Array[] = [];
  for (const { buffer, length } of slots) {
    const whole = await backend.read(buffer, "i32", 0, before + length + after) as Int32Array;
    const guards = [...whole.subarray(0, before), ...whole.subarray(before + length)];
    expect(guards.every((value) => value === GUARD)).toBe(true);
    values.push(whole.slice(before, before + length));
    backend.free(buffer);
  }
  return values;
}

describeDevices("operands inside larger buffers", (each) => {
  for (const name of Object.keys(kernels) as KernelName[]) {
    test(name, async () => {
      const backend = await device(each);
      expect(await results(backend, name, true)).toEqual(await results(backend, name, false));
    });
  }
}, ["cpu", "gpujs"]);
