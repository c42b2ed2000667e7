// finetune --base: what taming's configs say, as if it had been given by options.
import type { Command } from "commander";
import { listImages } from "../../data/index.ts";
import { readTamingConfig } from "../../train/index.ts";
import type { Flags } from "./command.ts";

/** The flags with the configs' settings where the command line gives none, and what is to be said about it. */
export async function withConfigs(
  flags: Flags,
  command: Command,
  assignments: readonly string[],
): Promise<{ flags: Flags; notes: readonly string[] }> {
  const all = [...assignments];
  // --data and --lpips take what stands behind them, though it be an assignment at the end of the line
  const own = <T>(words: T | string[]) => {
    if (!Array.isArray(words)) return words;
    all.push(...words.filter(isAssignment));
    return words.filter((word) => !isAssignment(word));
  };
  const given: Flags = { ...flags, data: own(flags.data), lpips: own(flags.lpips) };
  const config = await readTamingConfig(given.base ?? [], all);
  const isGiven = (key: keyof Flags) => command.getOptionValueSource(key) === "cli";
  const startsOtherwise = (["from", "scratch", "resume"] as const).some(isGiven);
  const said: Flags = {
    ...given,
    ...(startsOtherwise ? {} : config.from === null ? { scratch: true } : { from: config.from }),
    model: config.model,
    ...(isGiven("preset") ? {} : { preset: config.preset }),
    ...(config.data === null || isGiven("data") ? {} : { data: [config.data] }),
    ...(config.val === null || isGiven("val") ? {} : { val: config.val }),
    ...(config.size === null || isGiven("size") ? {} : { size: config.size }),
    ...(config.batch === null || isGiven("batch") ? {} : { batch: config.batch }),
    ...(config.accumulate === null || isGiven("accumulate") ? {} : { accumulate: config.accumulate }),
    ...(config.baseLr === null || isGiven("baseLr") || isGiven("lr") ? {} : { baseLr: config.baseLr }),
    restartDeadCodes: flags.restartDeadCodes ?? 0,
  };
  return { flags: { ...said, steps: flags.steps ?? await stepsOf(said, config) }, notes: config.notes };
}

function isAssignment(word: string): boolean {
  return /^[A-Za-z_]\w*(\.\w+)+=/.test(word);
}

/** Lightning counts epochs where it has no steps. */
async function stepsOf(
  { data, batch, accumulate }: Flags,
  { steps, epochs }: { steps: number | null; epochs: number | null },
): Promise<number | undefined> {
  if (steps !== null) return steps;
  if (epochs === null || !data) return undefined;
  return Math.ceil(epochs * (await listImages(data)).length / (batch * accumulate));
}
