// What --resume does: it continues a run of Tessera with the options that may change, or a checkpoint by Lightning as a new
// run.
import { basename, dirname } from "node:path";
import type { Command } from "commander";
import { isRemote } from "../../data/index.ts";
import {
  beginRun,
  checkpointOf,
  defaultOptions,
  type Loading,
  readProgress,
  type ResumeChanges,
  resumeRun,
  type Run,
} from "../../train/index.ts";
import { newestCheckpoint } from "../../train/taming/log_folder.ts";
import { fetched } from "../fetch.ts";
import { UsageError } from "../options.ts";
import { print } from "../print.ts";
import { currentRanks } from "../ranks.ts";
import { checkOptionsApply } from "./applies.ts";
import { continuedRun, type Flags } from "./flags.ts";
import { stopChange } from "./options/course.ts";
import { optimizerChanges } from "./options/optimizer.ts";
import { reportOf } from "./options/report.ts";

/** Continues a run by Tessera exactly, or begins a run with the weights and optimizers of a checkpoint by Lightning. */
export async function continueRun(
  runOrFile: string,
  flags: Flags,
  command: Command,
  loading: Loading,
): Promise<Run> {
  const named = await fetched(runOrFile), path = await checkpointOf(named);
  if (path !== named && !basename(path).startsWith("last.")) {
    const newest = await newestCheckpoint(dirname(path));
    if (newest) print(newest.note);
  }
  const progress = await readProgress(path);
  if (progress === "own run" && isRemote(runOrFile)) {
    throw new UsageError(
      `a run of Tessera is resumed in its folder: copy ${path} to yours first, or begin a new run with --from`,
    );
  }
  if (progress === "own run") {
    return await resumeRun(runOrFile, resumeChanges(command), loading, currentRanks());
  }
  checkOptionsApply(flags, command);
  const steps = flags.steps ?? progress.step + defaultOptions.steps;
  if (steps <= progress.step) {
    throw new UsageError(`${path} is at step ${progress.step}: --steps is the total and must be larger`);
  }
  // As in Lightning, the optimizers' own rate overrides that of a config, but not an option.
  const hasBaseLr = command.getOptionValueSource("baseLr") === "cli";
  const lr = flags.lr ?? (hasBaseLr ? undefined : progress.lr);
  const betas: [number, number] = flags.betas ?? [...progress.betas];
  return await beginRun({
    ...continuedRun(path, { ...flags, betas }, steps, lr),
    loading,
    ranks: currentRanks(),
  });
}

/** The options that can be changed when a run is resumed. */
const resumable: readonly string[] = [
  "resume",
  "device",
  "ranks",
  "allReduce",
  "precision",
  "steps",
  "epochs",
  "stopWhen",
  "patience",
  "data",
  "val",
  "batch",
  "accumulate",
  "lr",
  "lrFloor",
  "lrOf",
  "weightDecay",
  "clip",
  "lpips",
  "logEvery",
  "imageEvery",
  "valEvery",
  "saveEvery",
  "tensorboard",
  "saveMinutes",
  "keep",
];

/** Returns the options from the command line. @throws UsageError if one of them cannot be changed any more */
function resumeChanges(command: Command): ResumeChanges {
  const given = Object.entries(command.opts()).filter(([key]) => command.getOptionValueSource(key) === "cli");
  const fixed = given.find(([key]) => !resumable.includes(key));
  if (fixed) {
    const option = command.options.find((option) => option.attributeName() === fixed[0]);
    throw new UsageError(
      `${option?.long} cannot be changed when a run is resumed: its value is in the checkpoint`,
    );
  }
  const {
    resume: _resume,
    device: _device,
    ranks: _ranks,
    allReduce: _allReduce,
    lpips,
    stopWhen,
    patience,
    lrOf,
    weightDecay,
    clip,
    tensorboard,
    ...rest
  } = Object.fromEntries(given);
  const changes = {
    ...rest,
    ...tensorboard ? { report: reportOf({ tensorboard }) } : {},
    optimizer: optimizerChanges({ lrOf, weightDecay, clip }),
    stopWhen: stopChange({ stopWhen, patience }),
  };
  if (lpips === undefined) return changes;
  return { ...changes, perceptual: lpips === false ? "none" : lpips };
}
