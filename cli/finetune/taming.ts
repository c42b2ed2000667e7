// finetune with taming's configs, of --base or of the log folder that --resume names: treats their settings as if they had
// been given as options.
import { stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import type { Command } from "commander";
import { isRemote, listImages } from "../../data/index.ts";
import {
  checkpointOf,
  defaultOptions,
  readProgress,
  readTamingConfig,
  type TamingConfig,
} from "../../train/index.ts";
import { stepsOfEpochs } from "../../train/taming/config.ts";
import { findLogFolder, type LogFolder } from "../../train/taming/log_folder.ts";
import { fetched } from "../fetch.ts";
import { UsageError } from "../options.ts";
import type { Flags } from "./flags.ts";

/**
 * Adds the settings of the configs to the flags. Options on the command line override them.
 * @param assignments the settings at the end of the command line, such as model.params.n_embed=1024
 * @returns the flags, and notes about what was read, overridden and left out
 */
export async function withConfigs(
  flags: Flags,
  command: Command,
  assignments: readonly string[],
): Promise<{ flags: Flags; notes: readonly string[] }> {
  const isHere = flags.resume !== undefined && !isRemote(flags.resume);
  const log = isHere ? await findLogFolder(flags.resume!) : null;
  const paths = [...log?.configs ?? [], ...flags.base ?? []]; // in the order of main.py --resume
  if (paths.length === 0) {
    if (assignments.length === 0) return { flags, notes: [] };
    throw new UsageError(
      `"${assignments[0]}" belongs to no option; settings like this one change a --base config`,
    );
  }
  const all = [...assignments];
  // --data and --lpips take all following words as their values, so assignments may be among them.
  const withoutAssignments = <T>(words: T | string[]) => {
    if (!Array.isArray(words)) return words;
    all.push(...words.filter(isAssignment));
    return words.filter((word) => !isAssignment(word));
  };
  const given: Flags = {
    ...flags,
    data: withoutAssignments(flags.data),
    lpips: withoutAssignments(flags.lpips),
  };
  const isGiven = (key: string) => command.getOptionValueSource(key) === "cli";
  const config = await readTamingConfig(paths, all, { data: isGiven("data"), val: isGiven("val") });
  const notes = [...log ? [`configs: ${paths.join(", ")}`] : [], ...config.notes];
  const list = async (option: "data" | "val") => {
    const path = config[option];
    return isGiven(option) || path === null ? null : await found(path, option, log, notes);
  };
  const data = await list("data");
  const settings: { [K in keyof Flags]?: Flags[K] | null } = {
    preset: config.preset,
    data: data === null ? null : [data],
    val: await list("val"),
    size: config.size,
    batch: config.batch,
    accumulate: config.accumulate,
    baseLr: isGiven("lr") ? null : config.baseLr,
    name: log && nameOf(log),
  };
  const told = Object.entries(settings).filter(([key, value]) => value !== null && !isGiven(key));
  const joined: Flags = {
    ...given,
    ...Object.fromEntries(told),
    ...(["from", "scratch", "resume"].some(isGiven) ? {} : startOf(config)),
    model: config.model,
    restartDeadCodes: flags.restartDeadCodes ?? 0,
  };
  const steps = await stepsOf(joined, config);
  if (log && !isGiven("resize")) {
    notes.push(
      "pictures are decoded and shrunk by Lanczos; --resize taming makes exactly the pixels of taming's loader",
    );
  }
  if (log && steps === null && flags.steps === undefined) {
    notes.push(
      `the configs set no max_epochs or max_steps: the run takes ${defaultOptions.steps} steps more (--steps N for another total)`,
    );
  }
  notes.push(...overridden(given, { ...settings, steps }, config, command));
  return { flags: { ...joined, steps: flags.steps ?? steps ?? undefined }, notes };
}

function isAssignment(word: string): boolean {
  return /^[A-Za-z_]\w*(\.\w+)+=/.test(word);
}

function startOf({ from }: TamingConfig): Pick<Flags, "from" | "scratch"> {
  return from === null ? { scratch: true } : { from };
}

/** The part of the log folder's name after its time. */
function nameOf({ path }: LogFolder): string {
  return basename(resolve(path)).replace(/^[\dT-]+_(?=.)/, "");
}

/**
 * Finds a list of pictures whose path starts where main.py was run: in the working folder, or else in one of the folders
 * around the log folder, which main.py makes in logs/.
 * @throws UsageError if it is nowhere
 */
async function found(
  path: string,
  option: "data" | "val",
  log: LogFolder | null,
  notes: string[],
): Promise<string> {
  if (log === null || await exists(path)) return path;
  const parent = dirname(resolve(log.path)), around = isAbsolute(path) ? [] : [dirname(parent), parent];
  for (const folder of around) {
    const there = join(folder, path);
    if (!await exists(there)) continue;
    notes.push(`${path} is not in the working folder; found in ${folder}`);
    return there;
  }
  const places = around.length === 0
    ? "not there"
    : `neither in the working folder nor in ${around.join(" or ")}`;
  throw new UsageError(
    `${path}, a list of pictures in the configs of ${log.path}, is ${places}: name the pictures with --${option}`,
  );
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}

/**
 * Returns the steps at which the run ends: where the first of Lightning's limits is reached. A run that is resumed counts
 * epochs from the one at which its checkpoint begins.
 * @returns null if the configs have no limit
 * @throws UsageError if a run that is resumed has reached it
 */
async function stepsOf(flags: Flags, { steps, epochs }: TamingConfig): Promise<number | null> {
  const path = flags.resume === undefined ? null : await checkpointOf(await fetched(flags.resume));
  const progress = path === null ? null : await readProgress(path);
  if (progress === "own run") return null;
  const { step, epoch } = progress ?? { step: 0, epoch: 0 };
  let total = steps ?? Infinity;
  if (epochs !== null && flags.data) {
    const { length } = await listImages(flags.data);
    const left = stepsOfEpochs(Math.max(0, epochs - epoch), length, flags.batch, flags.accumulate);
    total = Math.min(total, step + left);
  }
  if (progress && total <= step && flags.steps === undefined) {
    const limits = [
      ...steps === null ? [] : [`max_steps ${steps}`],
      ...epochs === null ? [] : [`max_epochs ${epochs}`],
    ];
    throw new UsageError(
      `${path} is at step ${step}, epoch ${epoch}, where its configs end the run (${limits.join(", ")}): ` +
        "to go on, give a larger total with --steps",
    );
  }
  return total === Infinity ? null : total;
}

/** Lists the options that override settings of the configs, with both values. */
function overridden(
  flags: Flags,
  settings: { readonly [K in keyof Flags]?: Flags[K] | null },
  { data, val, baseLr, model }: TamingConfig,
  command: Command,
): string[] {
  const { discStart, discWeight } = model.lossconfig ?? {};
  const configs = { ...settings, data, val, lr: baseLr, baseLr, discStart, discWeight };
  return command.options.flatMap((option) => {
    const key = option.attributeName() as keyof typeof configs;
    const theirs = configs[key] ?? null, ours = flags[key];
    const isOverridden = command.getOptionValueSource(key) === "cli" && theirs !== null &&
      `${theirs}` !== `${ours}`;
    if (!isOverridden || key === "name") return [];
    const what = key === "lr" ? `the base rate ${theirs}` : theirs;
    return [
      `${option.long} ${Array.isArray(ours) ? ours.join(" ") : ours} instead of ${what} in the configs`,
    ];
  });
}
