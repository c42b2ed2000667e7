// What encode and decode have in common: how tokens were made, the check that they fit a model, and DALL-E mini's ways.
import { createHash } from "node:crypto";
import { basename } from "node:path";
import { Option } from "commander";
import { isAutoencoder, openCheckpoint, type TokenHeader, type TokenRecord } from "../data/index.ts";
import type { VQGAN } from "../nn/index.ts";

/** DALL-E mini fed its VQGAN [0, 1] and put one token in front of each picture's. */
export function dalleMiniOption(description: string): Option {
  return new Option("--dalle-mini", description).conflicts("range");
}

/** The token in front of a picture in DALL-E mini's sequences: the first after the codebook's 16,384. */
export const dalleMiniBos = 16384;

/**
 * SHA-256 of the autoencoder's weights as they compute: of each tensor, in the order of their keys, its key, shape and f32
 * values. Read from the file, since the model in memory may be one half of it.
 */
async function hashWeights(path: string): Promise<string> {
  const hash = createHash("sha256");
  const file = await openCheckpoint(path);
  try {
    for (const key of [...file.tensors.keys()].filter(isAutoencoder).sort()) {
      const t = file.tensors.get(key)!;
      hash.update(`${key} [${t.shape}]\n`);
      await t.readFloats(({ buffer, byteOffset, byteLength }) => {
        hash.update(new Uint8Array(buffer, byteOffset, byteLength));
      });
    }
  } finally {
    await file.close();
  }
  return hash.digest("hex");
}

/** What a model says of the tokens it makes. */
export async function modelFacts(
  model: VQGAN,
  path: string,
): Promise<
  Pick<
    TokenHeader,
    "format" | "version" | "factor" | "vocabulary" | "range" | "attentionOrder" | "model" | "weights"
  >
> {
  return {
    format: "tessera-tokens",
    version: 1,
    factor: model.factor,
    vocabulary: model.config.nEmbed,
    range: model.range,
    attentionOrder: model.config.attentionOrder,
    model: basename(path),
    weights: await hashWeights(path),
  };
}

/** What should be known before tokens of one model are decoded by another. */
export function mismatches(header: TokenHeader, model: Awaited<ReturnType<typeof modelFacts>>): string[] {
  const found: string[] = [];
  if (header.weights !== model.weights) {
    found.push(`was made with other weights (${header.model}); pictures may make no sense`);
  }
  if (header.range !== model.range) found.push(`was made with --range ${header.range}, not ${model.range}`);
  if (header.attentionOrder !== model.attentionOrder) {
    found.push(`was made with --attention-order ${header.attentionOrder}, not ${model.attentionOrder}`);
  }
  return found;
}

/** @throws naming the first token of a record that is not in the model's vocabulary. */
export function checkTokens(path: string, { file, encoding }: TokenRecord, vocabulary: number): void {
  const bad = encoding.findIndex((token) => token < 0 || token >= vocabulary);
  if (bad < 0) return;
  throw new Error(
    `${path}: token ${encoding[bad]} at place ${bad} of ${file} is not in 0..${vocabulary - 1}, ` +
      `the model's vocabulary of ${vocabulary}`,
  );
}
