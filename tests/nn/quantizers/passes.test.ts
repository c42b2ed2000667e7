// Training passes other than taming's: the rotation trick, the entropy term, and codes that the loss does not move.
import { expect, test } from "bun:test";
import { entropyLoss } from "../../../nn/quantizers/entropy.ts";
import { tamingPass, VectorQuantizer } from "../../../nn/index.ts";
import { backward, noGrad, scope, type Tensor, tensor } from "../../../src/index.ts";
import { describeDevices } from "../../support/devices.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { filled, golden } from "../../support/goldens.ts";
import { drawn, draws, maxError } from "../../support/numbers.ts";

interface Pass {
  readonly loss: number;
  readonly q: number[];
  readonly z: number[];
  readonly codes: number[];
}
interface Golden {
  readonly rotation: Readonly<Record<"nearest" | "normalized", Pass>>;
  readonly entropy: readonly (Omit<Pass, "q"> & { readonly temperature: number })[];
}
const wanted = golden<Golden>("codebook/expected");

function quantizer(normalized = false): VectorQuantizer {
  const made = new VectorQuantizer(11, 6, { beta: 0.25, legacyBeta: false, normalized }, null);
  made.codebook.write(filled("quantize.embedding.weight", [11, 6]));
  return made;
}

function vectors(): Tensor {
  const z = drawn("z", [2, 4, 5, 6]);
  z.requiresGrad = true;
  return z;
}

function free(...tensors: Tensor[]): void {
  for (const t of tensors) {
    t.grad?.dispose();
    t.dispose();
  }
}

describeDevices("the rotation trick", () => {
  for (const kind of ["nearest", "normalized"] as const) {
    test(`values and gradients of ${kind} codes are those of explicit matrices`, () =>
      expectNoLeak(async () => {
        const { loss: value, q, z: dz, codes: de } = wanted.rotation[kind];
        const quantize = quantizer(kind === "normalized"), z = vectors(), g = drawn("g", [2, 4, 5, 6]);
        quantize.setPass({ ...tamingPass, gradient: "rotation" });
        const { quantized, loss, indices } = quantize.call(z);
        expect(Math.abs(await loss.item() - value)).toBeLessThan(1e-6);
        expect(maxError(await quantized.floats(), q)).toBeLessThan(1e-6);
        scope(() => backward(loss.mul(0.7).add(quantized.mul(g).sum())));
        expect(maxError(await z.grad!.floats(), dz)).toBeLessThan(1e-5);
        expect(maxError(await quantize.codebook.grad!.floats(), de)).toBeLessThan(1e-6);
        free(z, g, quantized, loss, indices);
        quantize.dispose();
      }));
  }

  test("opposite vectors, and vectors and codes of zeros, give finite gradients", () =>
    expectNoLeak(async () => {
      const quantize = new VectorQuantizer(1, 2, { beta: 0.25, legacyBeta: true }, null);
      quantize.setPass({ ...tamingPass, gradient: "rotation" });
      for (const code of [[1, 0], [0, 0]]) {
        quantize.codebook.write(Float32Array.from(code));
        const z = tensor([-1, 0, 0, 0], [1, 1, 2, 2], { requiresGrad: true });
        const { quantized, loss, indices } = quantize.call(z);
        scope(() => backward(loss.add(quantized.sum())));
        expect((await z.grad!.floats()).every(Number.isFinite)).toBe(true);
        free(z, quantized, loss, indices);
      }
      quantize.dispose();
    }));
});

describeDevices("the entropy term", () => {
  for (const { temperature, loss: value, z: dz, codes: de } of wanted.entropy) {
    test(`values and gradients at temperature ${temperature}`, () =>
      expectNoLeak(async () => {
        const z = vectors(), codes = tensor(filled("quantize.embedding.weight", [11, 6]), [11, 6]);
        codes.requiresGrad = true;
        const loss = entropyLoss(z, codes, temperature);
        expect(Math.abs(await loss.item() - value)).toBeLessThan(5e-6);
        scope(() => backward(loss.mul(0.7)));
        expect(maxError(await z.grad!.floats(), dz)).toBeLessThan(1e-5);
        expect(maxError(await codes.grad!.floats(), de)).toBeLessThan(1e-4);
        free(z, codes, loss);
      }));
  }

  test("the gradient in the middle of a graph against central differences", () =>
    expectNoLeak(async () => {
      const z = vectors(), codes = drawn("codes", [11, 6]);
      const graph = () => entropyLoss(z.mul(1.25), codes, 0.7).mul(-3).exp();
      scope(() => backward(graph()));
      const analytic = await z.grad!.floats(), at = await z.floats(), h = 0.02;
      const valueAt = async (i: number, moved: number) => {
        z.write(Float32Array.from(at, (v, j) => j === i ? moved : v));
        const value = noGrad(() => scope(graph));
        const number = await value.item();
        value.dispose();
        return number;
      };
      for (let i = 0; i < at.length; i += 17) {
        const numeric = (await valueAt(i, at[i] + h) - await valueAt(i, at[i] - h)) / (2 * h);
        expect(Math.abs(numeric - analytic[i]) / Math.max(...analytic.map(Math.abs))).toBeLessThan(3e-3);
      }
      free(z, codes);
    }));

  test("is part of the loss in training alone, with its weight", () =>
    expectNoLeak(async () => {
      const quantize = quantizer(), z = vectors(), values: number[] = [];
      for (const [entropyWeight, training] of [[0, true], [0.1, true], [0.1, false]] as const) {
        quantize.setPass({ ...tamingPass, entropyWeight, entropyTemperature: 0.5 });
        quantize.train(training);
        const { quantized, loss, indices } = noGrad(() => quantize.call(z));
        values.push(await loss.item());
        free(quantized, loss, indices);
      }
      expect(Math.abs(values[1] - values[0] - 0.1 * wanted.entropy[0].loss)).toBeLessThan(1e-6);
      expect(values[2]).toBe(values[0]);
      free(z);
      quantize.dispose();
    }));
});

test("without the codebook term the loss is the commitment alone, and codes have no gradient", () =>
  expectNoLeak(async () => {
    const quantize = quantizer(), z = vectors(), g = tensor(draws("g", 240), [2, 4, 5, 6]);
    const taming = quantize.call(z);
    quantize.setPass({ ...tamingPass, movesCodes: false, entropyWeight: 0.1 });
    const { quantized, loss, indices } = quantize.call(z);
    quantize.eval();
    const still = quantize.call(z);
    expect(await still.loss.item()).toBeCloseTo(await taming.loss.item() / 5, 7); // 0.25 of 1.25
    scope(() => backward(loss.add(quantized.mul(g).sum())));
    expect(quantize.codebook.grad).toBe(null);
    expect(z.grad).not.toBe(null);
    for (const pass of [taming, still]) free(pass.quantized, pass.loss, pass.indices);
    free(z, g, quantized, loss, indices);
    quantize.dispose();
  }));
