// How much work and memory a picture takes, counted on a device that computes nothing.
import type { VQModelConfig } from "../data/formats/config.ts";
import { CountingBackend } from "../src/backends/counting.ts";
import { withBackend } from "../src/device.ts";
import { noGrad, scope, zeros } from "../src/index.ts";
import type { Parts } from "../src/parts.ts";
import { VQGAN } from "./vqgan.ts";

/** What a computation takes. */
export interface Cost {
  /** Operations by the definition. */
  readonly flops: number;
  /** The most bytes of all tensors at a time, those of the model included. */
  readonly bytes: number;
  /** How many operations are done after each part. */
  readonly done: readonly number[];
  /** False if counting was ended before all parts were counted. Then the numbers are those of the first parts. */
  readonly isWhole: boolean;
}

/** The most parts that are counted. */
const mostParts = 100_000;

/** Counts what encoding pictures [batch, height, width] takes. Counting ends where it takes more than `maxBytes`. */
export function costOfEncoding(
  config: VQModelConfig,
  shape: readonly [number, number, number],
  maxBytes?: number,
): Cost {
  return costOf(config, "encoder", maxBytes, (model) => model.encodeParts(zeros([...shape, 3])));
}

/** Counts what decoding a grid of tokens [batch, rows, columns] takes. Counting ends where it takes more than `maxBytes`. */
export function costOfDecoding(
  config: VQModelConfig,
  grid: readonly [number, number, number],
  maxBytes?: number,
): Cost {
  const start = (model: VQGAN) => model.decodeParts(zeros([...grid, config.embedDim]));
  return costOf(config, "decoder", maxBytes, start);
}

function costOf(
  config: VQModelConfig,
  only: "encoder" | "decoder",
  maxBytes = Infinity,
  start: (model: VQGAN) => Parts<unknown>,
): Cost {
  const backend = new CountingBackend(), done: number[] = [];
  let isWhole = false;
  withBackend(backend, () =>
    noGrad(() =>
      scope(() => {
        const model = new VQGAN(config, null, { only });
        const parts = start(model);
        while (!isWhole && done.length < mostParts && backend.peak <= maxBytes) {
          isWhole = parts.next().done === true;
          done.push(backend.total.flops);
        }
        parts.return(undefined);
        model.dispose();
      })
    ));
  return { flops: backend.total.flops, bytes: backend.peak, done, isWhole };
}
