// The SHA-256 of a file or of a model's weights, and the published files with a known one (from model cards and
// catalogues).
import { createHash } from "node:crypto";
import { checkOptions } from "../../src/check.ts";
import {
  type CheckpointSource,
  localPath,
  type OpenOptions,
  openRules,
  withCheckpoint,
} from "../formats/opener.ts";
import { isAutoencoder } from "../formats/state_dict_keys.ts";
import "./open.ts"; // checkpoints by their paths
import { openFile } from "./source.ts";

const known: Readonly<Record<string, string>> = {
  "845a68805098cb666420d5db93df53f3a3b6dd443e6dd85c05759c5b998cd663":
    "vqgan_imagenet_f16_16384 of CompVis: trained on ImageNet, not fine-tuned",
  "719864730defcc73d9b017c602744b5f3ffa5bd8e547fb24355a26d16a5045e2":
    "flax-community/vqgan_f16_16384: fine-tuned on people and faces",
};

const chunkLength = 2 ** 22;

/** The result of `hashFile`. */
export interface FileHash {
  /** The hash in hexadecimal. */
  readonly sha256: string;
  /** The published model with this hash; null if none is known. */
  readonly published: string | null;
}

/**
 * Computes the SHA-256 of a file's bytes.
 * @param pathOrName a path, a name on the Hugging Face hub, or a web address
 * @throws FormatError if the file cannot be read; an Error if it cannot be downloaded.
 */
export async function hashFile(pathOrName: string, options: OpenOptions = {}): Promise<FileHash> {
  checkOptions("hashFile", options, openRules);
  const { onProgress, signal } = options;
  const source = await openFile(await localPath(pathOrName, options));
  try {
    const hash = createHash("sha256");
    const chunk = new Uint8Array(Math.min(chunkLength, source.byteLength));
    for (let at = 0; at < source.byteLength; at += chunk.length) {
      signal?.throwIfAborted();
      const part = chunk.subarray(0, Math.min(chunk.length, source.byteLength - at));
      await source.readInto(part, at);
      hash.update(part);
      onProgress?.(at + part.length, source.byteLength, "read");
    }
    const sha256 = hash.digest("hex");
    return { sha256, published: known[sha256] ?? null };
  } finally {
    await source.close();
  }
}

/**
 * Computes the SHA-256 of an autoencoder's weights, which the header of a token file contains. It covers the key, the
 * shape and the f32 values of each tensor, sorted by key, so it is the same in every format that holds the same
 * numbers.
 *
 * The weights are read from the file, because a model in memory may hold only one half of them.
 * @returns the hash in hexadecimal
 * @throws FormatError if the checkpoint cannot be read
 * @example For the header of a token file
 * ```ts
 * import { hashWeights } from "@tessera/vqgan";
 *
 * const weights = await hashWeights("last.ckpt"); // 64 hexadecimal digits
 * ```
 */
export async function hashWeights(source: CheckpointSource, options: OpenOptions = {}): Promise<string> {
  checkOptions("hashWeights", options, openRules);
  const { onProgress, signal } = options;
  return await withCheckpoint("hashWeights", source, async ({ tensors }) => {
    const chosen = [...tensors].filter(([key]) => isAutoencoder(key)).sort(([a], [b]) => (a < b ? -1 : 1));
    const total = chosen.reduce((sum, [, { byteLength }]) => sum + byteLength, 0);
    const hash = createHash("sha256");
    let bytes = 0;
    for (const [key, t] of chosen) {
      signal?.throwIfAborted();
      hash.update(`${key} [${t.shape}]\n`);
      await t.readFloats(({ buffer, byteOffset, byteLength }) => {
        hash.update(new Uint8Array(buffer, byteOffset, byteLength));
      });
      onProgress?.(bytes += t.byteLength, total, "read");
    }
    return hash.digest("hex");
  }, options);
}
