// The options of finetune that say when a run ends and what it keeps.
import { Option } from "commander";
import { type NewRun, type ResumeChanges, type StopRule } from "../../../train/index.ts";
import { defaultPatience } from "../../../train/run/stopping.ts";
import { nonNegativeNumber, positiveNumber, UsageError, wholeNumber } from "../../options.ts";

/** The values of these options. */
export interface CourseFlags {
  epochs?: number;
  stopWhen?: string;
  patience?: number;
  keep?: number;
  saveMinutes?: number;
}

/** The options about the end of a run, for the help's group of training. */
export const endOptions: readonly Option[] = [
  new Option("--epochs <n>", "passes over the pictures, in place of --steps").argParser(positiveNumber)
    .conflicts("steps"),
  new Option(
    "--stop-when <metric>",
    "end the run when this metric stops improving: val/rec_loss, val/p_loss, val/psnr, seen/psnr, ...; with --resume, " +
      "never turns this off",
  ),
  new Option(
    "--patience <n>",
    `measurements (--val-every) in a row without improvement that end the run (default: ${defaultPatience})`,
  ).argParser(wholeNumber(1)),
];

/** The options about checkpoints, for the help's group of output. */
export const keepOptions: readonly Option[] = [
  new Option("--save-minutes <n>", "also save when this many minutes have passed (default: 0, only by steps)")
    .argParser(nonNegativeNumber),
  new Option(
    "--keep <n>",
    "how many of the latest checkpoints to keep, beside the best one (default: only the last one)",
  )
    .argParser(wholeNumber(0)),
];

/** The settings of a new run that these options make. */
export function courseOf(
  { epochs, stopWhen, patience, keep = 0, saveMinutes = 0 }: CourseFlags,
): Pick<NewRun["options"], "epochs" | "stopWhen" | "keep" | "saveMinutes"> {
  if (patience !== undefined && stopWhen === undefined) {
    throw new UsageError("--patience has no effect without --stop-when, which names the metric");
  }
  checkPatience({ stopWhen, patience });
  const rule: StopRule | null = stopWhen === undefined || stopWhen === "never"
    ? null
    : { metric: stopWhen, patience: patience ?? defaultPatience };
  return { epochs, stopWhen: rule, keep, saveMinutes };
}

function checkPatience({ stopWhen, patience }: CourseFlags): void {
  if (patience !== undefined && stopWhen === "never") {
    throw new UsageError("--patience has no effect with --stop-when never");
  }
}

/** What these options change about a run that is resumed. */
export function stopChange({ stopWhen, patience }: CourseFlags): ResumeChanges["stopWhen"] {
  checkPatience({ stopWhen, patience });
  if (stopWhen === "never") return null;
  if (stopWhen === undefined && patience === undefined) return undefined;
  return {
    ...(stopWhen === undefined ? {} : { metric: stopWhen }),
    ...(patience === undefined ? {} : { patience }),
  };
}
