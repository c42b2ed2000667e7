// Counts a training step: its memory and its work, by running it on a device that computes nothing.
import type { VQModelConfig } from "../data/formats/config.ts";
import type { Precision } from "../nn/layers.ts";
import { VQGAN } from "../nn/vqgan.ts";
import { CountingBackend } from "../src/backends/counting.ts";
import { withBackend } from "../src/device.ts";
import { asyncScope, noGrad, type Tensor, zeros } from "../src/index.ts";

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

/** What a step takes. */
export interface StepCount extends StepMemory {
  /** How many times the operations of one picture's reconstruction it has. */
  readonly ratio: number;
}

/** A `Trainer`, as far as counting needs it: a trainer counts its own steps when the memory runs out. */
interface Steps {
  trainStep(batches: readonly Tensor[]): Promise<unknown>;
  dispose(): void;
}

/**
 * Counts a step in which the discriminator takes part.
 * @param make the trainer of a new model on the counting device
 * @param accumulate the number of batches in the step
 */
export async function countStep(
  config: VQModelConfig,
  { batch, height, width }: Omit<StepShape, "precision">,
  make: (model: VQGAN) => Steps | Promise<Steps>,
  accumulate = 1,
): Promise<StepCount> {
  const backend = new CountingBackend();
  const counted = async (work: () => unknown): Promise<number> => {
    const before = backend.total.flops;
    await asyncScope(async () => void await work());
    return backend.total.flops - before;
  };
  let picture = 0, step = 0;
  await withBackend(backend, async () => {
    const model = new VQGAN(config, null, { withLoss: true });
    model.setDiscStart(0); // nobody knows the step of a plateau
    if (model.loss?.perceptual_loss) model.loss.perceptual_loss.ready = true;
    const trainer = await make(model);
    picture = await counted(() => noGrad(() => void model.reconstruct(zeros([1, height, width, 3]))));
    const batches = () => Array.from({ length: accumulate }, () => zeros([batch, height, width, 3]));
    // Adam's moments exist from the start of the second step on
    for (let i = 0; i < 2; i++) step = await counted(() => trainer.trainStep(batches()));
    trainer.dispose();
    model.dispose();
  });
  return { peak: backend.peak, largest: backend.largest, ratio: step / picture };
}
