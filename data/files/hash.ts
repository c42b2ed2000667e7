// The SHA-256 of a file, and the published files that have a known one (from model cards and catalogues).
import { createHash } from "node:crypto";
import { openFile } from "./source.ts";

const known: Readonly<Record<string, string>> = {
  "845a68805098cb666420d5db93df53f3a3b6dd443e6dd85c05759c5b998cd663":
    "vqgan_imagenet_f16_16384 of CompVis: trained on ImageNet, not fine-tuned",
  "719864730defcc73d9b017c602744b5f3ffa5bd8e547fb24355a26d16a5045e2":
    "flax-community/vqgan_f16_16384: fine-tuned on people and faces",
};

const chunkLength = 2 ** 22;

/**
 * @param onProgress called with the bytes read so far and in all
 * @returns the SHA-256 in hexadecimal, and what is published under it; null if that is not known
 * @throws FormatError if the file cannot be read.
 */
export async function hashFile(
  path: string,
  onProgress?: (bytes: number, total: number) => void,
): Promise<{ sha256: string; published: string | null }> {
  const source = await openFile(path);
  try {
    const hash = createHash("sha256");
    const chunk = new Uint8Array(Math.min(chunkLength, source.byteLength));
    for (let at = 0; at < source.byteLength; at += chunk.length) {
      const part = chunk.subarray(0, Math.min(chunk.length, source.byteLength - at));
      await source.readInto(part, at);
      hash.update(part);
      onProgress?.(at + part.length, source.byteLength);
    }
    const sha256 = hash.digest("hex");
    return { sha256, published: known[sha256] ?? null };
  } finally {
    await source.close();
  }
}
