// What a run has to do and what that takes: the work and memory of a step, counted on a device that computes nothing, how often
// a run does something beside its steps, and the room on the disk.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { VQGAN } from "../../nn/index.ts";
import { Random } from "../../src/index.ts";
import { overhead } from "../advice.ts";
import { countStep } from "../count.ts";
import { oneRank } from "../distributed/ranks.ts";
import { CountedIdentity, type IdentityLoss } from "../identity.ts";
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
 * Counts a step of a run with all that it does when its discriminator takes part.
 * @param hasPerceptual whether the perceptual network has its weights
 * @param identity the identity loss of the run; null if it has none
 */
export async function countWork(
  settings: RunSettings,
  hasPerceptual: boolean,
  identity: IdentityLoss | null,
): Promise<StepWork> {
  const { size, batch, accumulate, model: config, seed } = settings, random = new Random(seed);
  const make = async (model: VQGAN) => {
    if (model.loss?.perceptual_loss) model.loss.perceptual_loss.ready = hasPerceptual;
    const counted = identity && new CountedIdentity(identity), given = { dropout: random, restart: random };
    return (await makeTrainer(model, settings, given, (made) => made, oneRank, counted)).trainer;
  };
  const { ratio, peak } = await countStep(config, { batch, height: size, width: size }, make, accumulate);
  return { ratio, memory: peak * overhead };
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
