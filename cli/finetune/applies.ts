// Refuses options that would have no effect, because people who give one expect it to have one.
import type { Command } from "commander";
import { UsageError } from "../options.ts";
import type { Flags } from "./flags.ts";
import { idleCodebookOption } from "./options/codebook.ts";
import { idleGanOption } from "./options/gan.ts";

/** The options that describe a new model. */
const ofNewModels: readonly (keyof Flags)[] = [
  "preset",
  "ch",
  "chMult",
  "resBlocks",
  "attn",
  "zChannels",
  "embedDim",
  "quantizer",
  "codes",
  "discNdf",
  "discLayers",
];

/** @throws UsageError naming the first option on the command line that has no effect with the others */
export function checkOptionsApply(flags: Flags, command: Command): void {
  const given = (key: keyof Flags) =>
    command.getOptionValueSource(key) === "cli"
      ? command.options.find((option) => option.attributeName() === key)?.long
      : undefined;
  const ofNew = flags.scratch ? undefined : ofNewModels.map(given).find((name) => name !== undefined);
  if (ofNew !== undefined) {
    throw new UsageError(
      `${ofNew} only works with --scratch: the model of a checkpoint stays as it is built`,
    );
  }
  if (given("lrFloor") && flags.decay === "constant") {
    throw new UsageError("--lr-floor has no effect with --decay constant: use --decay cosine or linear");
  }
  const idle = idleGanOption(flags) ?? idleCodebookOption(flags);
  if (idle !== null) throw new UsageError(idle);
  if (flags.identity && flags.train?.every((part) => part === "discriminator" || part === "codebook")) {
    throw new UsageError("--identity has no effect where --train leaves encoder and decoder frozen");
  }
  if (given("lpipsDropout") && flags.lpips === false) {
    throw new UsageError("--lpips-dropout has no effect with --no-lpips");
  }
}
