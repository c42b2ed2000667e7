// What a run has to do and what that takes: the work and memory of a step, counted on a device that computes nothing, how often
// a run does something beside its steps, and the room on the disk.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { VQGAN } from "../../nn/index.ts";
import { CountingBackend } from "../../src/backends/counting.ts";
import { withBackend } from "../../src/device.ts";
import { asyncScope, noGrad, Random, zeros } from "../../src/index.ts";
import { overhead } from "../estimate.ts";
import { parseSheetName, type SheetKind } from "../report/sheets.ts";
import { checkpointsAtATime } from "./room.ts";
import { checkpointBytes } from "./checkpoint.ts";
import { makeTrainer, type Run } from "./run.ts";
import type { RunSettings } from "./settings.ts";

/** The work of a step, and its memory. */
export interface StepWork {
  /** How many times the operations of one picture's reconstruction a step has. */
  readonly ratio: number;
  /** The bytes of memory at the peak, approximately. */
  readonly memory: number;
}

/**
 * Counts a step of a run with all that it does when its discriminator takes part, except the face network.
 * @param hasPerceptual whether the perceptual network has its weights
 */
export async function countStep(settings: RunSettings, hasPerceptual: boolean): Promise<StepWork> {
  const backend = new CountingBackend(), own: { dispose(): void }[] = [];
  const { size, batch, accumulate, model: config, seed } = settings;
  const owned = <T extends { dispose(): void }>(made: T): T => {
    own.push(made);
    return made;
  };
  let picture = 0, step = 0;
  await withBackend(backend, async () => {
    try {
      const model = owned(new VQGAN(config, null, { withLoss: true })), random = new Random(seed);
      model.setDiscStart(0); // nobody knows the step of a plateau
      if (model.loss?.perceptual_loss) model.loss.perceptual_loss.ready = hasPerceptual;
      const { trainer } = await makeTrainer(
        model,
        { ...settings, identity: 0 },
        { dropout: random, restart: random },
        owned,
      );
      const counted = async (work: () => unknown): Promise<number> => {
        const before = backend.total.flops;
        await asyncScope(async () => void await work());
        return backend.total.flops - before;
      };
      picture = await counted(() => noGrad(() => void model.reconstruct(zeros([1, size, size, 3]))));
      const batches = () => Array.from({ length: accumulate }, () => zeros([batch, size, size, 3]));
      // Adam's moments exist from the second step on
      for (let i = 0; i < 2; i++) step = await counted(() => trainer.trainStep(batches()));
    } finally {
      for (const one of own.reverse()) one.dispose();
    }
  });
  return { ratio: step / picture, memory: backend.peak * overhead };
}

/** How often something that is done after every so many steps, and after the last one, is still to be done. */
export function timesDue(every: number, step: number, steps: number): number {
  if (step >= steps) return 0;
  return Math.floor(steps / every) - Math.floor(step / every) + (steps % every === 0 ? 0 : 1);
}

/** The bytes on the disk that a run will have taken at its end. */
export async function diskBytes({ trainer, settings, folder }: Run): Promise<number> {
  const { steps, saveEvery, imageEvery, valEvery, logEvery } = settings;
  const saved = timesDue(saveEvery, 0, steps) + timesDue(valEvery, 0, steps);
  let bytes = checkpointBytes(trainer) * Math.min(checkpointsAtATime(settings), 1 + saved);
  const sheets = await sheetBytes(join(folder.path, "images"));
  bytes += sheets.step * (1 + timesDue(imageEvery, 0, steps)) +
    sheets.worst * (1 + timesDue(valEvery, 0, steps));
  const line = 700; // in metrics.jsonl and, about as much, in metrics.csv
  return bytes + 2 * line * (steps / logEvery + steps / valEvery);
}

/** The mean size of the sheets that are there. */
async function sheetBytes(folder: string): Promise<Record<SheetKind, number>> {
  const sums = { step: 0, worst: 0 }, counts = { step: 0, worst: 0 };
  for (const name of await readdir(folder).catch(() => [])) {
    const sheet = parseSheetName(name);
    if (!sheet || !name.endsWith(".png")) continue;
    sums[sheet.kind] += (await stat(join(folder, name))).size;
    counts[sheet.kind]++;
  }
  return { step: sums.step / (counts.step || 1), worst: sums.worst / (counts.worst || 1) };
}
