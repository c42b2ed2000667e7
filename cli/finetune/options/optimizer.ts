// The options of finetune that concern its optimizers: which parts learn and at which rate, AdamW, and clipping.
import { InvalidArgumentError, Option } from "commander";
import {
  defaultOptimizer,
  type OptimizerOptions,
  type PartName,
  type PartRates,
} from "../../../train/index.ts";
import { partNames } from "../../../train/parts.ts";
import { nonNegativeNumber, positiveNumber } from "../../options.ts";

/** The values of these options. */
export interface OptimizerFlags {
  train?: (PartName | "all")[];
  lrOf?: PartRates;
  betas?: [number, number];
  weightDecay?: number;
  clip?: number;
  ema?: number;
}

/** These options, for the command. */
export const optimizerOptions: readonly Option[] = [
  new Option(
    "--train <parts>",
    `the parts that learn: all, or a list of ${
      partNames.join(", ")
    }; all others are frozen, which saves time and memory ` +
      "(default: all)",
  ).argParser(parts),
  new Option(
    "--lr-of <rates>",
    "separate learning rates for parts, such as decoder=1e-5,codebook=1e-4",
  )
    .argParser(rates),
  new Option("--betas <pair>", "Adam's decay rates (default: 0.5,0.9 as in taming)").argParser(pair),
  new Option("--weight-decay <rate>", "AdamW's weight decay, for convolutions only (default: 0)").argParser(
    nonNegativeNumber,
  ),
  new Option(
    "--clip <norm>",
    "gradient clipping: largest norm of a network's gradients (default: 0, no limit)",
  )
    .argParser(nonNegativeNumber),
  new Option(
    "--ema <decay>",
    "keep an average of the weights with this decay, such as 0.999; it is measured, drawn, saved beside them and used by " +
      "other commands (default: 0, none)",
  ).argParser(fraction),
];

/** What these options change. */
export function optimizerChanges({ train, lrOf, ...rest }: OptimizerFlags): Partial<OptimizerOptions> {
  const { betas, weightDecay, clip, ema } = rest;
  const changes = { train, rates: lrOf, betas, weightDecay, clip, ema };
  return Object.fromEntries(Object.entries(changes).filter(([, value]) => value !== undefined));
}

/** The optimizers that these options describe. */
export function optimizerOf(flags: OptimizerFlags): OptimizerOptions {
  return { ...defaultOptimizer, ...optimizerChanges(flags) };
}

/** Parses a list of parts, such as decoder,discriminator. */
function parts(text: string): (PartName | "all")[] {
  const names = text.split(",").map((name) => name.trim());
  const wrong = names.find((name) => name !== "all" && !partNames.includes(name as PartName));
  if (wrong === undefined) return names as (PartName | "all")[];
  throw new InvalidArgumentError(
    `there is no part ${JSON.stringify(wrong)}; use all, or some of ${partNames.join(", ")}`,
  );
}

/** Parses rates of parts, such as decoder=1e-5,codebook=1e-4. */
function rates(text: string): PartRates {
  const rates = new Map<string, number>();
  for (const one of text.split(",")) {
    const [, name, rate] = /^\s*(\w+)\s*=(.*)$/.exec(one) ?? [];
    if (!partNames.includes(name as PartName)) {
      throw new InvalidArgumentError(
        `expected rates of ${partNames.join(", ")}, such as decoder=1e-5,codebook=1e-4`,
      );
    }
    if (rates.has(name)) throw new InvalidArgumentError(`${name} is there twice`);
    rates.set(name, positiveNumber(rate));
  }
  return Object.fromEntries(rates);
}

/** Parses a number from 0 to below 1. */
function fraction(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value < 1) return value;
  throw new InvalidArgumentError("expected a number from 0 to below 1, such as 0.999");
}

/** Parses two numbers from 0 to below 1, such as 0.9,0.95. */
function pair(text: string): [number, number] {
  const numbers = text.split(",").map((part) => part.trim() === "" ? NaN : Number(part));
  if (numbers.length === 2 && numbers.every((n) => n >= 0 && n < 1)) return numbers as [number, number];
  throw new InvalidArgumentError("expected two numbers from 0 to below 1, such as 0.9,0.95");
}
