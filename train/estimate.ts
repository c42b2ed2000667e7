// Estimates the memory of a training step by running it on a device that only counts, and finds the batch size that
// would fit.
import type { VQModelConfig } from "../data/formats/config.ts";
import type { Precision } from "../nn/layers.ts";
import { setPrecision } from "../nn/precision.ts";
import { VQGAN } from "../nn/vqgan.ts";
import { CountingBackend } from "../src/backends/counting.ts";
import { withBackend } from "../src/device.ts";
import { asyncScope, OutOfMemoryError, zeros } from "../src/index.ts";
import { applyGradients, makeOptimizers } from "./optimizers.ts";
import { trainingStep } from "./step.ts";

/** What the memory of a step depends on. */
export interface StepShape {
  /** The number of pictures in a batch. */
  readonly batch: number;
  /** The height of the pictures in pixels. */
  readonly height: number;
  /** The width of the pictures in pixels. */
  readonly width: number;
  /** The type in which activations are stored. */
  readonly precision: Precision;
}

/** The memory of a step, as counted by `estimateStep`. */
export interface StepMemory {
  /** The bytes of all tensors at the peak: weights, moments of both Adam optimizers, gradients and activations. */
  readonly peak: number;
  /** The bytes of the largest tensor. */
  readonly largest: number;
}

/** The memory that is taken for each byte of tensors: packed filters, partial sums, and blocks that are a little too large. */
export const overhead = 1.15;

/**
 * Estimates the memory of a training step.
 * @example The published model
 * ```ts
 * import { estimateStep, preset } from "@tessera/vqgan";
 *
 * const shape = { batch: 1, height: 256, width: 256, precision: "f32" } as const;
 * const { peak } = await estimateStep(preset("f16-16384"), shape); // 1.7e9
 * ```
 */
export async function estimateStep(
  config: VQModelConfig,
  { batch, height, width, precision }: StepShape,
): Promise<StepMemory> {
  const backend = new CountingBackend();
  await withBackend(backend, async () => {
    const model = new VQGAN(config, null, { withLoss: true });
    const images = zeros([batch, height, width, 3]);
    if (model.loss?.perceptual_loss) model.loss.perceptual_loss.ready = true;
    setPrecision(model, precision);
    const optimizers = makeOptimizers(model, 1);
    for (let globalStep = 0; globalStep < 2; globalStep++) { // Adam's moments exist from the start of the second step
      await asyncScope(async () => {
        await trainingStep(model, [images], { globalStep }, (network) => applyGradients(optimizers[network]));
      });
    }
    for (const owner of [...Object.values(optimizers), images, model]) owner.dispose();
  });
  return { peak: backend.peak, largest: backend.largest };
}

/** A training step needs more memory than there is. The fields give the batch size that would fit. */
export class BatchTooLargeError extends Error {
  /** "BatchTooLargeError" */
  override readonly name = "BatchTooLargeError";
  /** The step that was requested. */
  readonly shape: StepShape;
  /** The memory that it takes, in bytes, approximately. */
  readonly bytes: number;
  /** The largest batch that fits; 0 if not even one picture fits. */
  readonly fits: number;
  /** How many batches of that size make a step with as many pictures; 0 if none fits. */
  readonly accumulate: number;
  /** The message without the advice. */
  readonly problem: string;

  /** Builds the message from all the numbers. */
  constructor(cause: OutOfMemoryError, shape: StepShape, bytes: number, fits: number, accumulate: number) {
    const { batch, height, width, precision } = shape;
    const megabytes = Math.round(bytes / 1e6);
    const problem = `${cause.problem}; a step on ${batch} of ${height}x${width} takes about ${megabytes} MB`;
    const advice = fits > 0
      ? `a batch of ${fits} fits (batch: ${fits}, with accumulate: ${accumulate} for the same step)`
      : `not even one picture fits: use a smaller size${precision === "f32" ? ', or precision: "f16"' : ""}`;
    super(`${problem}, ${advice}`, { cause });
    this.problem = problem;
    this.shape = shape;
    this.bytes = bytes;
    this.fits = fits;
    this.accumulate = accumulate;
  }
}

/**
 * Returns the error to throw in place of `error`: if memory ran out, one that names the batch size that would fit.
 * @param accumulate the number of batches in the step that failed
 */
export async function withAdvice(
  error: unknown,
  config: VQModelConfig,
  shape: StepShape,
  accumulate = 1,
): Promise<unknown> {
  if (!(error instanceof OutOfMemoryError)) return error;
  const { total = Infinity, largest = Infinity } = error;
  const fits = async (batch: number) => {
    const need = await estimateStep(config, { ...shape, batch });
    return need.peak * overhead <= total && need.largest <= largest;
  };
  let batch = shape.batch - 1;
  while (batch > 0 && !await fits(batch)) batch--;
  const bytes = (await estimateStep(config, shape)).peak * overhead;
  const pictures = shape.batch * accumulate;
  return new BatchTooLargeError(error, shape, bytes, batch, batch > 0 ? Math.ceil(pictures / batch) : 0);
}
