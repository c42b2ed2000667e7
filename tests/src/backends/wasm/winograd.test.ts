// Winograd's convolutions against the definition's, with shapes whose patches extend beyond every border, on the CPU and on
// the GPU.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { VQGAN } from "../../../../nn/index.ts";
import type { WebGpuBackend } from "../../../../src/backends/webgpu/backend.ts";
import { backward, conv2d, currentBackend, device, type DeviceName } from "../../../../src/index.ts";
import { full, grad, Random, scope, type Tensor, tensor, zeros } from "../../../../src/index.ts";
import { describeDevices } from "../../../support/devices.ts";
import { expectNoLeak } from "../../../support/expectations.ts";
import { fillState, picture, tinyConfig } from "../../../support/goldens.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

afterAll(async () => void await device("cpu", { exact: false }));

interface Case {
  readonly shape: [batch: number, height: number, width: number, inputs: number];
  readonly outputs: number;
  readonly kernel?: 3 | 4;
  readonly padding?: number;
  readonly upsample?: 2;
  readonly groups?: number;
}

/** The output and the gradients of input and weights, by one of the two algorithms. */
async function results(
  exact: boolean,
  { shape, outputs, kernel = 3, padding = 1, upsample, groups = 1 }: Case,
  name: DeviceName = "cpu",
  dtype: "f32" | "f16" = "f32",
): Promise<Float32Array[]> {
  await device(name, { exact });
  const random = new Random(3);
  const tensors = scope((): Tensor[] => {
    const x = random.normal(shape).cast(dtype);
    const w = random.normal([outputs, shape[3] / groups, kernel, kernel]);
    const bias = random.normal([outputs]);
    for (const t of [x, w]) t.requiresGrad = true;
    const y = conv2d(x, w, bias, { padding, upsample, groups });
    const g = random.normal(y.shape).cast(dtype);
    const residual = conv2d(x, w, bias, { padding, upsample, groups, residual: g });
    return [y.detach(), residual.detach(), ...grad([y], name === "cpu" ? [x, w] : [x], { gradOutputs: [g] })];
  });
  const values = await Promise.all(tensors.map((t) => t.floats()));
  for (const t of tensors) t.dispose();
  return values;
}

/** Root mean square of the difference, relative to that of `b`: one wrong number in a million still shows. */
function difference(a: Float32Array, b: Float32Array): number {
  let error = 0, square = 0;
  for (let i = 0; i < a.length; i++) {
    error += (a[i] - b[i]) ** 2;
    square += b[i] ** 2;
  }
  return Math.sqrt(error / square);
}

const cases: Case[] = [
  { shape: [1, 1, 1, 4], outputs: 1 },
  { shape: [1, 4, 4, 8], outputs: 8 },
  { shape: [2, 5, 7, 12], outputs: 3 },
  { shape: [1, 9, 6, 20], outputs: 9 },
  { shape: [3, 8, 3, 4], outputs: 130 },
  { shape: [1, 17, 33, 16], outputs: 136 },
  { shape: [1, 6, 10, 36], outputs: 24, padding: 0 },
  { shape: [1, 7, 5, 8], outputs: 8, padding: 2 },
  { shape: [1, 22, 22, 256], outputs: 8, padding: 8 }, // some patches lie in the padding as a whole
  { shape: [2, 5, 6, 8], outputs: 12, upsample: 2 },
  { shape: [1, 45, 50, 8], outputs: 12, upsample: 2 },
  { shape: [1, 4, 3, 996], outputs: 12 }, // the most channels for which Winograd is used
  { shape: [1, 40, 48, 68], outputs: 260 }, // several blocks, parts and panels
  { shape: [1, 41, 44, 16], outputs: 24, groups: 2 },
  { shape: [1, 4, 4, 4], outputs: 1, kernel: 4 },
  { shape: [2, 9, 7, 12], outputs: 20, kernel: 4 },
  { shape: [1, 5, 8, 24], outputs: 9, kernel: 4, padding: 3 },
  { shape: [1, 32, 41, 36], outputs: 132, kernel: 4 },
];

describe("Winograd", () => {
  for (const one of cases) {
    const { shape, outputs, kernel = 3, padding = 1, upsample, groups } = one;
    const name = `${kernel}x${kernel} [${shape}] -> ${outputs}, padding ${padding}${
      upsample ? ", upsampled" : ""
    }${groups ? `, ${groups} groups` : ""}`;
    test(`equals the definition: ${name}`, () =>
      expectNoLeak(async () => {
        const wanted = await results(true, one), got = await results(false, one);
        // errors grow with the square root of the number of addends: channels, or 4x4 patches in the weight gradient (the last)
        const channels = Math.max(16, shape[3], outputs);
        const patches = shape[0] * shape[1] * shape[2] * (upsample ?? 1) ** 2 / 16;
        for (const [i, values] of got.entries()) {
          const terms = i === 3 ? Math.max(channels, patches) : channels;
          expect(difference(values, wanted[i])).toBeLessThan(2e-7 * Math.sqrt(terms));
        }
        const other = outputs < 8 ? 3 : 0;
        expect(difference(got[other], wanted[other])).toBeGreaterThan(0); // proves that two different algorithms ran
      }));
  }

  for (const groups of [1, 2]) {
    test(`is not used where there are no channels to sum over, in ${groups} groups`, async () => {
      await device("cpu", { exact: false });
      scope(() => full([100_000], NaN)); // what the memory is filled with
      const y = scope(() => conv2d(zeros([1, 20, 40, 0]), zeros([8, 0, 3, 3]), null, { padding: 1, groups }));
      expect((await y.floats()).every((value) => value === 0)).toBe(true);
      y.dispose();
    });
  }

  test("gives a whole autoencoder the gradients that the definition gives", () =>
    expectNoLeak(async () => {
      const model = new VQGAN(tinyConfig, null);
      fillState(model.stateDict());
      const [wanted, got] = [await gradients(model, true), await gradients(model, false)];
      for (const [key, g] of wanted) {
        const small = g.every((value) => Math.abs(value) < 1e-7); // biases whose gradient is 0 except for rounding
        if (!small) {
          expect({ key, error: difference(got.get(key)!, g) }).toEqual({ key, error: expect.any(Number) });
        }
        if (!small) {
          expect(difference(got.get(key)!, g)).toBeLessThan(2e-5);
        }
      }
      model.dispose();
    }));
});

/**
 * The gradients of the mean square error of the reconstruction, which is smooth as long as the tokens do not change, plus the
 * codebook loss.
 */
async function gradients(model: VQGAN, exact: boolean): Promise<Map<string, Float32Array>> {
  await device("cpu", { exact });
  scope(() => {
    const x = tensor(picture("x0", [2, 3, 32, 32]), [2, 32, 32, 3]);
    const { reconstruction, codebookLoss } = model.forward(x);
    backward(x.sub(reconstruction).square().mean().add(codebookLoss));
  });
  const values = new Map<string, Float32Array>();
  for (const [key, p] of model.namedParameters()) values.set(key, await p.grad!.floats());
  model.zeroGrad();
  return values;
}

describeDevices("Winograd", (name) => {
  const counts = () => {
    const { gpu: { counts: { buffers, pipelines, bindGroups } } } = currentBackend() as WebGpuBackend;
    return { buffers, pipelines, bindGroups };
  };
  let before: boolean | undefined;
  beforeAll(() => void (before = currentBackend().exact));
  afterAll(async () => void await device(name, { exact: before }));

  const cases: (Case & { readonly dtype?: "f16"; readonly few?: true })[] = [
    { shape: [2, 13, 10, 20], outputs: 20 },
    { shape: [1, 13, 10, 18], outputs: 33, padding: 0 }, // channels that do not fill vectors
    { shape: [1, 9, 9, 16], outputs: 70, padding: 2 },
    { shape: [3, 200, 201, 16], outputs: 16 }, // two strips
    { shape: [2, 13, 10, 20], outputs: 20, dtype: "f16" },
    { shape: [2, 13, 10, 12], outputs: 20, few: true }, // too few channels, so both times the definition
    { shape: [1, 8, 8, 16], outputs: 20, few: true },
  ];
  for (const one of cases) {
    const { shape, outputs, padding = 1, dtype = "f32", few } = one;
    test(`equals the definition: [${shape}] -> ${outputs}, padding ${padding}, ${dtype}`, () =>
      expectNoLeak(async () => {
        if (dtype === "f16" && !currentBackend().hasF16) return;
        const wanted = await results(true, one, name, dtype), got = await results(false, one, name, dtype);
        const made = counts(), again = await results(false, one, name, dtype);
        expect(counts()).toEqual(made);
        expect(again).toEqual(got);
        // the definition's filters are f16 if the pictures are; Winograd's filters are larger, and stay f32
        const limit = dtype === "f16" ? 4e-4 : 2e-7 * Math.sqrt(Math.max(16, shape[3], outputs));
        for (const i of [0, 1, 2]) {
          const error = difference(got[i], wanted[i]);
          if (few) expect(error).toBe(0);
          else {
            expect(error).toBeLessThan(limit);
            expect(error).toBeGreaterThan(0);
          }
        }
      }));
  }
}, ["webgpu"]);
