// finetune's options for the codebook, and the training that they describe.
import { Option } from "commander";
import { type CodebookOptions, defaultCodebook } from "../../../train/index.ts";
import {
  fractionBelowOne,
  nonNegativeNumber,
  positiveNumber,
  UsageError,
  wholeNumber,
} from "../../options.ts";

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
      "what moves the codes: the loss by Adam, as in taming; running averages of their vectors (ema); or one learnt linear map " +
        "of all codes (simvq); files are the same (default: adam)",
    ).choices(["adam", "ema", "simvq"]),
    new Option("--codebook-decay <d>", `decay of the averages of ema (default: ${defaultCodebook.emaDecay})`)
      .argParser(fractionBelowOne),
    new Option(
      "--rotation",
      "turn gradients with the code that replaces a vector (the rotation trick), instead of passing them on unchanged",
    ),
    new Option(
      "--entropy <weight>",
      "weight of a term for codes that are chosen surely and all alike, such as 0.01 (default: 0)",
    ).argParser(nonNegativeNumber),
    new Option(
      "--entropy-temperature <t>",
      `temperature of its softmax over distances (default: ${defaultCodebook.entropyTemperature})`,
    ).argParser(positiveNumber),
    new Option(
      "--kmeans",
      "begin the codebook of --from anew with k-means centres of the pictures; tokens then mean something else " +
        "(--scratch always does)",
    ),
    new Option(
      "--restart-dead-codes <n>",
      "steps after which dead codes move to vectors of the pictures (default: 0; --scratch: 100, but 0 with simvq)",
    ).argParser(wholeNumber(0)),
    new Option(
      "--restart-below <share>",
      "a code is dead if it is chosen at most this many times as often as the average one (default: 0: never)",
    ).argParser(fractionBelowOne),
  ];
}

/**
 * Returns the training of the codebook that the options describe.
 * @throws UsageError if one of them has no effect with the others
 */
export function codebookOf(flags: CodebookFlags, isNew: boolean): CodebookOptions {
  const learning = flags.codebook ?? defaultCodebook.learning;
  const restartEvery = flags.restartDeadCodes ?? (isNew && learning !== "simvq" ? 100 : 0);
  const entropyWeight = flags.entropy ?? defaultCodebook.entropyWeight;
  const useless = (option: string, why: string) => new UsageError(`${option} has no effect ${why}`);
  if (flags.codebookDecay !== undefined && learning !== "ema") {
    throw useless("--codebook-decay", "without --codebook ema");
  }
  if (flags.entropyTemperature !== undefined && entropyWeight === 0) {
    throw useless("--entropy-temperature", "without --entropy");
  }
  if (flags.restartBelow !== undefined && restartEvery === 0) {
    throw useless("--restart-below", "without --restart-dead-codes");
  }
  if (flags.kmeans && isNew) throw useless("--kmeans", "with --scratch, which always begins with k-means");
  if (learning === "simvq" && restartEvery > 0) {
    throw new UsageError(
      "--restart-dead-codes cannot be used with --codebook simvq: all codes move together, and none can be moved alone",
    );
  }
  return {
    learning,
    emaDecay: flags.codebookDecay ?? defaultCodebook.emaDecay,
    gradient: flags.rotation ? "rotation" : defaultCodebook.gradient,
    entropyWeight,
    entropyTemperature: flags.entropyTemperature ?? defaultCodebook.entropyTemperature,
    kmeans: flags.kmeans ?? false,
    restartEvery,
    restartBelow: flags.restartBelow ?? defaultCodebook.restartBelow,
  };
}
