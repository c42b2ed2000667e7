// What encode and decode share: the description of how tokens were made, the check that they fit a model, and the
// conventions of DALL-E mini.
import { basename } from "node:path";
import { Option } from "commander";
import { hashWeights, type TokenHeader, type TokenRecord } from "../../data/index.ts";
import type { VQGAN } from "../../nn/index.ts";
import { bytesProgress } from "../progress.ts";

/** The option for DALL-E mini, which gave its VQGAN pixels in [0, 1] and put one token before those of each picture. */
export function dalleMiniOption(description: string): Option {
  return new Option("--dalle-mini", description).conflicts("range");
}

/** The part of a token file's header that depends only on the model. */
type ModelFacts = Pick<
  TokenHeader,
  "format" | "version" | "factor" | "vocabulary" | "range" | "attentionOrder" | "model" | "weights"
>;

/** Returns what the header of a token file states about the model that made the tokens. */
export async function modelFacts(model: VQGAN, path: string): Promise<ModelFacts> {
  const progress = bytesProgress("hash");
  const weights = await hashWeights(path, { onProgress: progress.report }).finally(progress.finish);
  return {
    format: "tessera-tokens",
    version: 1,
    factor: model.factor,
    vocabulary: model.vocabulary,
    range: model.range,
    attentionOrder: model.config.attentionOrder,
    model: basename(path),
    weights,
  };
}

/** Lists the differences between the model that made the tokens and the one that decodes them. */
export function mismatches(header: TokenHeader, model: ModelFacts): string[] {
  const found: string[] = [];
  if (header.weights !== model.weights) {
    found.push(`was made with other weights (${header.model}); the pictures may make no sense`);
  }
  if (header.range !== model.range) found.push(`was made with --range ${header.range}, not ${model.range}`);
  if (header.attentionOrder !== model.attentionOrder) {
    found.push(`was made with --attention-order ${header.attentionOrder}, not ${model.attentionOrder}`);
  }
  return found;
}

/** @throws an error that names the record's first token outside the model's vocabulary. */
export function checkTokens(path: string, { file, encoding }: TokenRecord, vocabulary: number): void {
  const bad = encoding.findIndex((token) => token < 0 || token >= vocabulary);
  if (bad < 0) return;
  throw new Error(
    `${path}: token ${encoding[bad]} at place ${bad} of ${file} is not in 0..${vocabulary - 1}, ` +
      `the model's vocabulary of ${vocabulary}`,
  );
}
