// SimVQ (Zhu et al. 2024, arXiv 2411.02038): the codes are a fixed table times a learnt matrix, E = T W, so that every step
// moves all codes, also those that are not chosen. T is the codebook at the first step and W begins as the identity. The model
// holds the product, an ordinary codebook, so that its files need nothing new. The gradient of W is T' times that of E.
import type { Quantizer } from "../../nn/quantizers/quantizer.ts";
import { check, whole } from "../../src/check.ts";
import { adamStep, keep, matmul, noGrad, scope, type Tensor, zeros } from "../../src/index.ts";
import type { Adam } from "../adam.ts";
import type { CodeLearning } from "./learning.ts";
import { checkStarted } from "./started.ts";

/** What is learnt, and what Adam remembers of it. */
interface Parts {
  readonly table: Tensor;
  readonly matrix: Tensor;
  readonly expAvg: Tensor;
  readonly expAvgSq: Tensor;
}

/** Moves all codes of a quantizer together. */
export class MappedCodes implements CodeLearning {
  readonly name = "codebook_simvq";
  readonly #quantizer: Quantizer;
  #parts: Parts | null = null;
  #isStarted = false;
  /** The number of updates of the matrix. */
  #step = 0;

  constructor(quantizer: Quantizer) {
    this.#quantizer = quantizer;
  }

  /** Takes the gradient of the codes away from the optimizer, updates the matrix by it with the optimizer's settings, and sets the codes. */
  beforeUpdate(optimizer: Adam): void {
    const { codebook } = this.#quantizer, { grad } = codebook;
    if (!grad) return;
    const { betas: [beta1, beta2], eps, lossScale } = optimizer;
    const lr = optimizer.rateOf(optimizer.keyOf(codebook));
    const { table, matrix, expAvg, expAvgSq } = this.#start();
    noGrad(() =>
      scope(() => {
        const gradient = matmul(table, grad, { transposeA: true });
        adamStep(matrix, gradient, expAvg, expAvgSq, {
          lr,
          beta1,
          beta2,
          eps,
          lossScale,
          step: ++this.#step,
        });
        codebook.assign(matmul(table, matrix));
      })
    );
    grad.dispose();
    codebook.grad = null;
  }

  /** There is nothing to do: the matrix follows gradients. */
  afterStep(): Promise<void> {
    return Promise.resolve();
  }

  /** @throws always, because codes cannot be moved alone */
  moved(_codes: readonly number[]): Promise<void> {
    throw new Error("SimVQ: all codes move together, so none can be moved alone");
  }

  #start(): Parts {
    const parts = this.#made();
    if (!this.#isStarted) {
      const size = this.#quantizer.codebook.shape[1];
      parts.table.assign(this.#quantizer.codebook);
      parts.matrix.write(
        Float32Array.from({ length: size ** 2 }, (_, i) => i % (size + 1) === 0 ? 1 : 0),
      );
      this.#isStarted = true;
    }
    return parts;
  }

  #made(): Parts {
    const { codebook: { shape, backend } } = this.#quantizer, square = [shape[1], shape[1]];
    const zero = (shape: readonly number[]) => keep(zeros(shape, "f32", backend));
    return this.#parts ??= {
      table: zero(shape),
      matrix: zero(square),
      expAvg: zero(square),
      expAvgSq: zero(square),
    };
  }

  /** The table, the matrix and its moments, as a checkpoint stores them. */
  tensors(): ReadonlyMap<string, Tensor> {
    return new Map(Object.entries(this.#made()));
  }

  /** How often the matrix was updated. */
  values(): { isStarted: boolean; step: number } {
    return { isStarted: this.#isStarted, step: this.#step };
  }

  /** Takes the values back. @throws if one is missing or wrong */
  restore(values: unknown): void {
    const { isStarted, step } = checkStarted(values);
    check("the codebook's state", "step", step, whole(0));
    this.#isStarted = isStarted;
    this.#step = step as number;
  }

  /** Frees the tensors. */
  dispose(): void {
    for (const part of Object.values(this.#parts ?? {}) as Tensor[]) part.dispose();
    this.#parts = null;
  }
}
