// What a training step takes of memory, counted on a device that computes nothing; and what batch would fit.
import {
  discriminatorStep,
  generatorStep,
  type Precision,
  setPrecision,
  VQGAN,
  type VQModelConfig,
} from "../nn/index.ts";
import { OutOfMemoryError, scope, tensor } from "../src/index.ts";
import { CountingBackend } from "../src/backends/counting.ts";
import { withBackend } from "../src/device.ts";
import { Adam } from "./adam.ts";

/** What decides the memory of a step. */
export interface StepShape {
  /** Pictures at once. */
  readonly batch: number;
  /** Their sides in pixels. */
  readonly height: number;
  readonly width: number;
  readonly precision: Precision;
}

export interface StepMemory {
  /** Bytes of all tensors at the highest point: weights, both Adams, gradients, activations. */
  readonly peak: number;
  /** Of the largest tensor. */
  readonly largest: number;
}

/** Beside tensors: packed filters, parts of sums, blocks that are a little too large. */
const MORE = 1.15;

/**
 * The memory of a training step.
 * @example estimateStep(preset("f16-16384"), { batch: 1, height: 256, width: 256, precision: "f32" }).peak // 1.6e9
 */
export function estimateStep(
  config: VQModelConfig,
  { batch, height, width, precision }: StepShape,
): StepMemory {
  const backend = new CountingBackend();
  withBackend(backend, () => {
    const model = new VQGAN(config, null, { withLoss: true });
    if (model.loss?.perceptual_loss) model.loss.perceptual_loss.ready = true;
    setPrecision(model, precision);
    const adams = [model.generatorParameters(), model.discriminatorParameters()].map((p) =>
      new Adam(p, { lr: 1 })
    );
    const images = tensor(new Float32Array(batch * height * width * 3), [batch, height, width, 3]);
    for (let step = 0; step < 2; step++) { // the second has Adam's moments from the beginning
      scope(() => {
        const { reconstruction } = generatorStep(model, images, { globalStep: step });
        adams[0].step();
        adams[0].zeroGrad();
        discriminatorStep(model, images, reconstruction, { globalStep: step });
        adams[1].step();
        adams[1].zeroGrad();
      });
    }
    for (const owner of [...adams, images, model]) owner.dispose();
  });
  return { peak: backend.peak, largest: backend.largest };
}

/** Tells, where memory did not suffice, what batch would; other errors stay as they are. */
export function withAdvice(error: unknown, config: VQModelConfig, shape: StepShape): unknown {
  if (!(error instanceof OutOfMemoryError)) return error;
  const { total = Infinity, largest = Infinity } = error;
  const fits = (batch: number) => {
    const need = estimateStep(config, { ...shape, batch });
    return need.peak * MORE <= total && need.largest <= largest;
  };
  let batch = shape.batch - 1;
  while (batch > 0 && !fits(batch)) batch--;
  const asked = `a step on ${shape.batch} of ${shape.height}x${shape.width} takes about ` +
    `${Math.round(estimateStep(config, shape).peak * MORE / 1e6)} MB`;
  const advice = batch > 0
    ? `a batch of ${batch} fits (--batch ${batch}, with --accumulate ${
      Math.ceil(shape.batch / batch)
    } for the same step)`
    : `not even one picture fits: use a smaller --size${
      shape.precision === "f32" ? ", or --precision f16" : ""
    }`;
  return new Error(`${error.message}; ${asked}, ${advice}`, { cause: error });
}
