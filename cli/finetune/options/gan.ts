// The options of finetune for the GAN, and the settings that they make.
import { InvalidArgumentError, Option } from "commander";
import { defaultGan, type DiscStart, type GanOptions } from "../../../train/index.ts";
import { parseStart } from "../../../train/gan/start.ts";
import { nonNegativeNumber, positiveNumber, wholeNumber } from "../../options.ts";
import type { OptimizerFlags } from "./optimizer.ts";

/** The values of the options. */
export interface GanFlags {
  discStart?: DiscStart;
  discWarmup?: number;
  discRamp?: number;
  discWeight?: number;
  discMaxWeight?: number;
  discFixedWeight?: number;
  lecam?: number;
  guard?: boolean;
}

/** The options, for the help's group of the GAN. */
export function ganOptions(): Option[] {
  return [
    new Option(
      "--disc-start <when>",
      "when the discriminator starts: a step, a share of the run (50%), passes over the pictures (2epochs), or " +
        "plateau, when the model no longer improves without it (default: 0; --scratch: 50%)",
    ).argParser(discStart),
    new Option(
      "--disc-warmup <n>",
      "steps from there on in which only the discriminator learns from the GAN (default: 0)",
    ).argParser(wholeNumber(0)),
    new Option(
      "--disc-ramp <n>",
      "steps after that over which the GAN's weight rises to its full value (default: 0)",
    )
      .argParser(wholeNumber(0)),
    new Option(
      "--disc-weight <factor>",
      "weight of the GAN loss, multiplied by the adaptive weight (default: the model's, 0.75; without a perceptual " +
        "network 0.2, because the GAN then outweighs L1)",
    ).argParser(nonNegativeNumber),
    new Option(
      "--disc-max-weight <w>",
      "upper limit of that product (default: only taming's, 10,000 for the adaptive weight)",
    )
      .argParser(positiveNumber),
    new Option("--disc-fixed-weight <w>", "a constant weight in place of the adaptive one; LlamaGen uses 0.5")
      .argParser(nonNegativeNumber).conflicts(["discWeight", "discMaxWeight"]),
    new Option(
      "--lecam <weight>",
      "LeCam regularisation, for few pictures: keeps the discriminator from memorising them; 0.05 is usual " +
        "(default: 0)",
    ).argParser(nonNegativeNumber),
    new Option(
      "--guard",
      "when rec_loss jumps by a quarter, go back to the last good checkpoint and halve the GAN's weight; twice at most, then " +
        "stop",
    ),
  ];
}

/** Returns the settings that the options make. */
export function ganOf(flags: GanFlags): GanOptions {
  return {
    start: flags.discStart ?? defaultGan.start,
    warmup: flags.discWarmup ?? defaultGan.warmup,
    ramp: flags.discRamp ?? defaultGan.ramp,
    lecam: flags.lecam ?? defaultGan.lecam,
    maxWeight: flags.discMaxWeight ?? defaultGan.maxWeight,
    guard: flags.guard ?? defaultGan.guard,
    fixedWeight: flags.discFixedWeight ?? defaultGan.fixedWeight,
  };
}

/** Why one of the options has no effect with the others; null if all have one. */
export function idleGanOption(flags: GanFlags & Pick<OptimizerFlags, "train">): string | null {
  const { train = ["all"] } = flags;
  const learns = (...parts: string[]) => ["all", ...parts].some((part) => (train as string[]).includes(part));
  if (flags.lecam && !learns("discriminator")) {
    return "--lecam has no effect where --train leaves the discriminator frozen";
  }
  const off = ([["discWeight", "--disc-weight 0"], ["discFixedWeight", "--disc-fixed-weight 0"]] as const)
    .find(([key]) => flags[key] === 0)?.[1];
  const steering =
    ([["discRamp", "--disc-ramp"], ["discMaxWeight", "--disc-max-weight"], ["guard", "--guard"]] as const)
      .find(([key]) => flags[key])?.[1];
  if (steering && !learns("encoder", "decoder", "attention")) {
    return `${steering} has no effect where --train leaves encoder and decoder frozen, which learn from the GAN`;
  }
  return off && steering ? `${steering} has no effect with ${off}, which turns the GAN off` : null;
}

/** Parses the value of --disc-start. */
function discStart(text: string): DiscStart {
  const parsed = parseStart(text.trim());
  if (parsed === null) {
    throw new InvalidArgumentError('expected a step such as 500, "50%" of the run, "2epochs" or "plateau"');
  }
  return parsed !== "plateau" && parsed.unit === "step" ? parsed.amount : text.trim();
}
