// finetune's options for the codebook, and the training that they describe.
import { Option } from "commander";
import { type CodebookOptions, defaultCodebook } from "../../../train/index.ts";
import { fractionBelowOne, nonNegativeNumber, positiveNumber, wholeNumber } from "../../options.ts";
import type { OptimizerFlags } from "./optimizer.ts";

/** The values of the options. */
export interface CodebookFlags {
  codebook?: CodebookOptions["learning"];
  codebookDecay?: number;
  rotation?: boolean;
  entropy?: number;
  entropyTemperature?: number;
  kmeans?: boolean;
  restartDeadCodes?: number;
  restartBelow?: number;
}

/** The options, under the title "Codebook". */
export function codebookOptions(): Option[] {
  return [
    new Option(
      "--codebook <method>",
      "what moves the codes: Adam, by the loss, as in taming; running averages of their vectors (ema); or one learnt linear map " +
        "of all codes (simvq); the file format is the same (default: adam)",
    ).choices(["adam", "ema", "simvq"]),
    new Option(
      "--codebook-decay <d>",
      `decay of the averages with ema (default: ${defaultCodebook.emaDecay})`,
    )
      .argParser(fractionBelowOne),
    new Option(
      "--rotation",
      "the rotation trick: rotate gradients as the vector is rotated to its code, instead of copying them",
    ),
    new Option(
      "--entropy <weight>",
      "weight of an entropy term, which makes choices sure and the use of codes even, such as 0.01 (default: 0)",
    ).argParser(nonNegativeNumber),
    new Option(
      "--entropy-temperature <t>",
      `temperature of the entropy term's softmax over distances (default: ${defaultCodebook.entropyTemperature})`,
    ).argParser(positiveNumber),
    new Option(
      "--kmeans",
      "replace the codebook of --from by k-means centres of the pictures, which makes old tokens invalid (--scratch always " +
        "starts so)",
    ),
    new Option(
      "--restart-dead-codes <n>",
      "steps between restarts, which move dead codes to vectors of the pictures (default: 0, none; --scratch: 100, but 0 " +
        "with simvq)",
    ).argParser(wholeNumber(0)),
    new Option(
      "--restart-below <share>",
      "a code is dead if it is chosen at most this many times as often as the average one (default: 0, if it is never chosen)",
    ).argParser(fractionBelowOne),
  ];
}

/** The options of the codebook that a frozen codebook ignores, and those that need an encoder or a codebook that learns. */
const ofCodes: readonly (keyof CodebookFlags)[] = [
  "codebook",
  "codebookDecay",
  "kmeans",
  "restartDeadCodes",
  "restartBelow",
];
const ofVectors: readonly (keyof CodebookFlags)[] = ["entropy", "entropyTemperature"];

/** The name of an option, such as --restart-below. */
const nameOf = (key: string) => `--${key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`;

/** Why one of the options has no effect with the others; null if all have one. */
export function idleCodebookOption(
  flags: CodebookFlags & Pick<OptimizerFlags, "train"> & { readonly scratch?: boolean },
): string | null {
  const { codebook: learning = defaultCodebook.learning, train = ["all"] } = flags;
  const { restartEvery, entropyWeight } = codebookOf(flags, flags.scratch ?? false);
  const learns = (...parts: string[]) => ["all", ...parts].some((part) => (train as string[]).includes(part));
  const first = (keys: readonly (keyof CodebookFlags)[]) => keys.find((key) => flags[key]);
  const ofFrozen = learns("codebook") ? undefined : first(ofCodes);
  if (ofFrozen) return `${nameOf(ofFrozen)} has no effect where --train leaves the codebook frozen`;
  if (flags.rotation && !learns("encoder", "attention")) {
    return "--rotation has no effect where --train leaves the encoder frozen, whose gradients it turns";
  }
  const ofStill = learns("codebook", "encoder", "attention") ? undefined : first(ofVectors);
  if (ofStill) return `${nameOf(ofStill)} has no effect where --train leaves encoder and codebook frozen`;
  if (flags.codebookDecay !== undefined && learning !== "ema") {
    return "--codebook-decay has no effect without --codebook ema";
  }
  if (flags.entropyTemperature !== undefined && entropyWeight === 0) {
    return "--entropy-temperature has no effect without --entropy";
  }
  if (flags.restartBelow !== undefined && restartEvery === 0) {
    return "--restart-below has no effect without --restart-dead-codes";
  }
  if (flags.kmeans && flags.scratch) {
    return "--kmeans has no effect with --scratch, which always begins with k-means";
  }
  return learning === "simvq" && restartEvery > 0
    ? "--restart-dead-codes cannot be used with --codebook simvq: all codes move together, and none can be moved alone"
    : null;
}

/** Returns the training of the codebook that the options describe. */
export function codebookOf(flags: CodebookFlags, isNew: boolean): CodebookOptions {
  const learning = flags.codebook ?? defaultCodebook.learning;
  return {
    learning,
    emaDecay: flags.codebookDecay ?? defaultCodebook.emaDecay,
    gradient: flags.rotation ? "rotation" : defaultCodebook.gradient,
    entropyWeight: flags.entropy ?? defaultCodebook.entropyWeight,
    entropyTemperature: flags.entropyTemperature ?? defaultCodebook.entropyTemperature,
    kmeans: flags.kmeans ?? false,
    restartEvery: flags.restartDeadCodes ?? (isNew && learning !== "simvq" ? 100 : 0),
    restartBelow: flags.restartBelow ?? defaultCodebook.restartBelow,
  };
}
