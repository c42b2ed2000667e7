// Makes what moves the codes of a model. No other place decides it.
import type { VQGAN } from "../../nn/vqgan.ts";
import type { Ranks } from "../distributed/ranks.ts";
import { EmaCodes } from "./ema.ts";
import type { CodeLearning } from "./learning.ts";
import type { CodebookTraining } from "./options.ts";
import { MappedCodes } from "./simvq.ts";

/** Returns null if Adam moves each code by itself. */
export function makeLearning(
  model: VQGAN,
  { learning, emaDecay }: CodebookTraining,
  ranks: Ranks,
): CodeLearning | null {
  if (learning === "ema") return new EmaCodes(model.quantize, emaDecay, ranks);
  if (learning === "simvq") return new MappedCodes(model.quantize);
  return null;
}
