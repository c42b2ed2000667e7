// The runs that kills.test.ts kills, each with other parts whose state must survive.
import { join } from "node:path";
import { defaultCodebook, defaultOptions, type NewRun, type RunOptions } from "../../train/index.ts";
import { runConfig } from "./runs.ts";

/** The options of each kind. */
export const kinds: Readonly<Record<string, Partial<RunOptions>>> = {
  "moving codes": { codebook: { ...defaultCodebook, learning: "ema", restartEvery: 7 }, saveEvery: 5 },
  "accumulation": { accumulate: 2, batch: 1, saveEvery: 3, flip: false, val: 0.34 },
  "taming's order": { tamingExact: true, decay: "cosine", warmup: 10, saveEvery: 1 },
  "many measurements": { valEvery: 2, imageEvery: 3, saveEvery: 4 },
};

/** The run of a kind on the pictures in `folder`/faces. */
export function killedRun(folder: string, kind: string, out: string): NewRun {
  return {
    start: { scratch: runConfig },
    perceptual: "none",
    out,
    options: {
      ...defaultOptions,
      ...{
        data: [join(folder, "faces")],
        size: 16,
        batch: 2,
        steps: 60,
        lr: 1e-3,
        crop: "random",
        flip: true,
      },
      ...{ logEvery: 1, val: 0.3, valEvery: 10, imageEvery: 20, name: "killed" },
      ...kinds[kind],
    },
  };
}
