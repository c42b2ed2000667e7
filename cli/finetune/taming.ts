// finetune --base: treats the settings of taming's configs as if they had been given as options.
import type { Command } from "commander";
import { listImages } from "../../data/index.ts";
import { readTamingConfig, type TamingConfig } from "../../train/index.ts";
import type { Flags } from "./flags.ts";

/**
 * Adds the settings of the configs to the flags. Options on the command line override them.
 * @param assignments the settings at the end of the command line, such as model.params.n_embed=1024
 * @returns the flags, and notes about settings that have no effect
 */
export async function withConfigs(
  flags: Flags,
  command: Command,
  assignments: readonly string[],
): Promise<{ flags: Flags; notes: readonly string[] }> {
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
  const config = await readTamingConfig(given.base ?? [], all);
  const isGiven = (key: string) => command.getOptionValueSource(key) === "cli";
  const settings: { [K in keyof Flags]?: Flags[K] | null } = {
    preset: config.preset,
    data: config.data === null ? null : [config.data],
    val: config.val,
    size: config.size,
    batch: config.batch,
    accumulate: config.accumulate,
    baseLr: isGiven("lr") ? null : config.baseLr,
  };
  const told = Object.entries(settings).filter(([key, value]) => value !== null && !isGiven(key));
  const joined: Flags = {
    ...given,
    ...Object.fromEntries(told),
    ...(["from", "scratch", "resume"].some(isGiven) ? {} : startOf(config)),
    model: config.model,
    restartDeadCodes: flags.restartDeadCodes ?? 0,
  };
  return { flags: { ...joined, steps: flags.steps ?? await stepsOf(joined, config) }, notes: config.notes };
}

function isAssignment(word: string): boolean {
  return /^[A-Za-z_]\w*(\.\w+)+=/.test(word);
}

function startOf({ from }: TamingConfig): Pick<Flags, "from" | "scratch"> {
  return from === null ? { scratch: true } : { from };
}

/**
 * Returns the steps of the run. If the config has none, they follow from its epochs, which Lightning counts instead.
 */
async function stepsOf(
  { data, batch, accumulate }: Flags,
  { steps, epochs }: TamingConfig,
): Promise<number | undefined> {
  if (steps !== null) return steps;
  if (epochs === null || !data) return undefined;
  return Math.ceil(epochs * (await listImages(data)).length / (batch * accumulate));
}
