// What the measurements of a run say: which step was the best, whether the run made the model worse, and whether it learns its
// pictures by heart.
import type { Measurements } from "../validate.ts";
import type { Best, Progress } from "./state.ts";
import { noise } from "./stopping.ts";

/** The checkpoint with the lowest loss. */
export interface BestCheckpoint {
  /** The step after which it was measured. */
  readonly step: number;
  /** Its rec_loss, on the pictures kept back or, without such pictures, on training pictures. */
  readonly loss: number;
  /** The file: the one that the run started from if no step was better; null if it could not be kept. */
  readonly path: string | null;
}

/** What a run has come to. */
export interface Verdict {
  /** The best checkpoint; null if nothing was measured. */
  readonly best: BestCheckpoint | null;
  /** The same in words, one line each: the best checkpoint, and warnings. */
  readonly lines: readonly string[];
}

/** The loss by which steps are compared: rec_loss on the pictures kept back or, without such pictures, on training pictures. */
export function lossOf(values: Measurements): number {
  return values["val/rec_loss"] ?? values["seen/rec_loss"];
}

/**
 * Says since when a run learns its pictures by heart: since its best step, training pictures have got better and those kept
 * back worse.
 * @returns null if it does not
 */
export function overfitting({ last, best }: Pick<Progress, "last" | "best">): string | null {
  if (!last || !best || best.seen === null || last.values["val/rec_loss"] === undefined) return null;
  const [loss, seen] = [last.values["val/rec_loss"], last.values["seen/rec_loss"]];
  if (loss <= best.loss * (1 + noise) || seen >= best.seen * (1 - noise)) return null;
  return `overfitting since step ${best.step}: training pictures got better (rec_loss ${
    change(best.seen, seen)
  }), pictures ` +
    `kept back worse (${change(best.loss, loss)}). More pictures, fewer steps or a lower learning rate help`;
}

/**
 * Judges a run by its first, best and last measurements.
 * @param fileOf returns where the file of the best step is
 */
export function judge(
  progress: Pick<Progress, "first" | "last" | "best">,
  fileOf: (best: Best) => string | null,
): Verdict {
  const { first, last, best } = progress;
  if (!first || !last || !best) return { best: null, lines: [] };
  const lines: string[] = [];
  const [before, after] = [lossOf(first.values), lossOf(last.values)];
  if (last.step > first.step && after > before * (1 + noise)) {
    lines.push(`warning: the model is worse than at step ${first.step}: rec_loss ${change(before, after)}`);
  }
  const heart = overfitting(progress);
  if (heart !== null) lines.push(`warning: ${heart}`);
  const path = fileOf(best);
  const which = best.step === 0 ? "the model that the run started from" : `step ${best.step}`;
  lines.push(
    `best checkpoint: ${which}, rec_loss ${best.loss.toFixed(4)}: ${path ?? "its file could not be kept"}`,
  );
  return { best: { step: best.step, loss: best.loss, path }, lines };
}

/** Two losses with the digits that tell them apart. */
function change(a: number, b: number): string {
  return `${a.toFixed(4)} -> ${b.toFixed(4)}`;
}
