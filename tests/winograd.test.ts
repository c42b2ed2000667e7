// Winograd's convolutions against the definition's, over shapes whose patches hang over every border, and how much
// they err against float64.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { VQGAN } from "../nn/index.ts";
import { backward, conv2d, device, grad, Random, scope, type Tensor, tensor } from "../src/index.ts";
import { fillState, picture, tinyConfig } from "./fill.ts";
import { expectNoLeak } from "./helpers.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

afterAll(async () => void await device("cpu", { exact: false }));

interface Case {
  readonly shape: [batch: number, height: number, width: number, inputs: number];
  readonly outputs: number;
  readonly kernel?: 3 | 4;
  readonly padding?: number;
  readonly upsample?: 2;
}

/** Output and gradients of input and weights, by one of the two ways. */
async function results(
  exact: boolean,
  { shape, outputs, kernel = 3, padding = 1, upsample }: Case,
): Promise<Float32Array[]> {
  await device("cpu", { exact });
  const random = new Random(3);
  const tensors = scope((): Tensor[] => {
    const x = random.normal(shape), w = random.normal([outputs, shape[3], kernel, kernel]);
    const bias = random.normal([outputs]);
    for (const t of [x, w]) t.requiresGrad = true;
    const y = conv2d(x, w, bias, { padding, upsample });
    const g = random.normal(y.shape);
    const residual = conv2d(x, w, bias, { padding, upsample, residual: g });
    return [y.detach(), residual.detach(), ...grad([y], [x, w], { gradOutputs: [g] })];
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
  { shape: [2, 5, 6, 8], outputs: 12, upsample: 2 },
  { shape: [1, 45, 50, 8], outputs: 12, upsample: 2 },
  { shape: [1, 4, 3, 996], outputs: 12 }, // the most channels there may be
  { shape: [1, 40, 48, 68], outputs: 260 }, // several blocks, parts and panels
  { shape: [1, 4, 4, 4], outputs: 1, kernel: 4 },
  { shape: [2, 9, 7, 12], outputs: 20, kernel: 4 },
  { shape: [1, 5, 8, 24], outputs: 9, kernel: 4, padding: 3 },
  { shape: [1, 32, 41, 36], outputs: 132, kernel: 4 },
];

describe("Winograd", () => {
  for (const one of cases) {
    const { shape, outputs, kernel = 3, padding = 1, upsample } = one;
    const name = `${kernel}x${kernel} [${shape}] -> ${outputs}, padding ${padding}${
      upsample ? ", upsampled" : ""
    }`;
    test(`equals the definition: ${name}`, () =>
      expectNoLeak(async () => {
        const wanted = await results(true, one), got = await results(false, one);
        // errors grow with the root of how much is added: channels, or in the weight gradient (the last) 4x4 patches
        const channels = Math.max(16, shape[3], outputs);
        const patches = shape[0] * shape[1] * shape[2] * (upsample ?? 1) ** 2 / 16;
        for (const [i, values] of got.entries()) {
          const terms = i === 3 ? Math.max(channels, patches) : channels;
          expect(difference(values, wanted[i])).toBeLessThan(2e-7 * Math.sqrt(terms));
        }
        const other = outputs < 8 ? 3 : 0;
        expect(difference(got[other], wanted[other])).toBeGreaterThan(0); // two ways, not one
      }));
  }

  test("gives a whole autoencoder the gradients that the definition gives", () =>
    expectNoLeak(async () => {
      const model = new VQGAN(tinyConfig, null);
      fillState(model.stateDict());
      const [wanted, got] = [await gradients(model, true), await gradients(model, false)];
      for (const [key, g] of wanted) {
        const small = g.every((value) => Math.abs(value) < 1e-7); // biases whose gradient is zero but for rounding
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

/** Of the mean square error of the reconstruction, which is smooth while the tokens stay, and of the codebook loss. */
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
