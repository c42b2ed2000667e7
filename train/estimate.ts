// Estimates the memory of a training step, without training.
import type { VQModelConfig } from "../data/formats/config.ts";
import { countStep, type StepMemory, type StepShape } from "./count.ts";
import { CountedIdentity } from "./identity.ts";
import { Trainer, type TrainerOptions } from "./trainer.ts";

/**
 * Estimates the memory of a training step, with a perceptual network if the config has one.
 * @param options those of the `Trainer`, which may need memory of their own: averages, a codebook that learns in another way, an
 * identity loss
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
  shape: StepShape,
  options: Omit<TrainerOptions, "learningRate" | "precision" | "ranks"> = {},
): Promise<StepMemory> {
  const { precision } = shape;
  const { peak, largest } = await countStep(config, shape, (model) => {
    const identity = options.identity ? new CountedIdentity(options.identity) : null;
    return new Trainer(model, { ...options, identity, precision, learningRate: () => 1 });
  });
  return { peak, largest };
}
