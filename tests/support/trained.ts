// A checkpoint of a short run, the same checkpoint as Lightning would have written it, and the contents of both, for tests
// that convert checkpoints or continue training from them.
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { VQModelConfig } from "../../data/formats/config.ts";
import { lightningRoot, vqModelArguments } from "../../data/formats/torch/lightning.ts";
import {
  configOf,
  convertCheckpoint,
  type ConvertOptions,
  toWrite,
  trainingState,
  writeCartoonFaces,
  writeTorch,
} from "../../data/index.ts";
import { beginRun, defaultOptions, type NewRun, type Run, train } from "../../train/index.ts";
import { smallConfig } from "./small_model.ts";
import { withFile } from "./with_file.ts";

/** The model of the run. */
export const trainedConfig: VQModelConfig = smallConfig({
  discStart: 1,
  discWeight: 0.3,
  perceptualWeight: 0,
});

export interface Trained {
  /** The pictures that the run learnt from. */
  readonly faces: string;
  readonly options: NewRun["options"];
  /** The checkpoint after three steps. */
  readonly original: string;
  /** Converts a checkpoint, and returns the path of the new one. */
  convert(from: string, name: string, options?: Partial<ConvertOptions>): Promise<string>;
  /** Writes the checkpoint as Lightning would have written it, without anything that only Tessera writes. */
  asLightning(name: string, change?: (root: Map<string, unknown>) => void): Promise<string>;
}

/** Trains for three steps below `folder`. */
export async function trainedCheckpoint(folder: string): Promise<Trained> {
  const faces = join(folder, "faces");
  await writeCartoonFaces(faces, 4, 16, 1);
  const options = { ...defaultOptions, data: [faces], size: 16, batch: 2, steps: 3, lr: 1e-3, name: "test" };
  const start = { scratch: trainedConfig };
  const original = await lastOf(await beginRun({ start, perceptual: "none", options, out: folder }));
  return {
    faces,
    options,
    original,
    async convert(from, name, options = {}) {
      await mkdir(dirname(join(folder, name)), { recursive: true });
      const [written] = await withFile(
        from,
        (file) => convertCheckpoint(file, join(folder, name), { config: configOf(file).config, ...options }),
      );
      return written;
    },
    async asLightning(name, change = () => {}) {
      const path = join(folder, name);
      await withFile(original, async (file) => {
        const { config } = configOf(file);
        const tensors = [...file.tensors].filter(([key]) => !key.startsWith("optimizer."))
          .map(([name, t]) => toWrite(name, t));
        const training = await trainingState(file);
        const hyperParameters = vqModelArguments(config);
        const root = lightningRoot({ tensors, training, hyperParameters, metadata: {} });
        change(root as Map<string, unknown>);
        await writeTorch(path, root);
      });
      return path;
    },
  };
}

/** Trains a run to its end and frees it. @returns its last checkpoint */
export async function lastOf(run: Run): Promise<string> {
  const { checkpoint } = await train(run);
  run.trainer.dispose();
  run.trainer.model.dispose();
  return checkpoint;
}

/** Every tensor of a file, including moments, as numbers. */
export async function contents(path: string): Promise<Map<string, number[]>> {
  return await withFile(path, async (file) => {
    const all = new Map<string, number[]>();
    for (const [key, t] of file.tensors) {
      if (!key.startsWith("optimizer.")) all.set(key, Array.from(await t.read(), Number));
    }
    const training = await trainingState(file);
    for (const [i, { moments }] of training?.optimizers.entries() ?? []) {
      for (const [key, { step, expAvg, expAvgSq }] of moments) {
        all.set(`${i} ${key} step`, [step]);
        all.set(`${i} ${key} m`, Array.from(await expAvg.read(), Number));
        all.set(`${i} ${key} v`, Array.from(await expAvgSq.read(), Number));
      }
    }
    return new Map([...all].sort(([a], [b]) => a < b ? -1 : 1));
  });
}
