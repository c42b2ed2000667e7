// The start of a codebook. taming's initial codes, uniform in +-1/K, are closer to each other than to the encoder's vectors, so
// that only a few are ever chosen. Here codes start at the k-means centres of the vectors of the first pictures.
import type { Batch } from "../../data/pictures/dataset.ts";
import type { Quantizer } from "../../nn/quantizers/quantizer.ts";
import type { VQGAN } from "../../nn/vqgan.ts";
import { aSignal, callback, checkOptions, type Rules, whole } from "../../src/check.ts";
import { asyncScope, nearestCode, noGrad, type Random, type Tensor, tensor } from "../../src/index.ts";
import { inTurns, pause } from "../../src/parts.ts";

/**
 * Returns the encoder's vectors for some pictures, as they are compared with codes: [B * h * w, embedDim], row-major.
 */
export async function encodedVectors(
  model: VQGAN,
  images: Tensor,
  signal?: AbortSignal,
): Promise<Float32Array> {
  return await noGrad(() =>
    asyncScope(async () => {
      const latents = await inTurns(images.backend, model.latentParts(images), { signal });
      return await model.quantize.comparable(latents).floats();
    })
  );
}

/** How the start of a codebook is watched and stopped. */
export interface CodebookStart {
  /** Called with what is done at the moment, and how much of it. */
  readonly onProgress?: (what: "reading pictures" | "k-means", done: number, total: number) => void;
  /** Aborting it makes the function reject with its reason. The codebook then stays as it is. */
  readonly signal?: AbortSignal;
  /** The most batches that are read. Default 256. */
  readonly maxBatches?: number;
}

const startRules: Rules<CodebookStart> = { onProgress: callback, signal: aSignal, maxBatches: whole(1) };

/**
 * Sets the codes to the k-means centres of the encoder's vectors for the first pictures. It reads batches until there
 * are four vectors per code, but at most `maxBatches`.
 * @returns how many vectors were used
 */
export async function initializeCodebook(
  model: VQGAN,
  batches: AsyncIterable<Batch>,
  random: Random,
  options: CodebookStart = {},
): Promise<number> {
  checkOptions("initializeCodebook", options, startRules);
  const { onProgress, signal, maxBatches = 256 } = options;
  const { nEmbed, embedDim } = model.config, wanted = 4 * nEmbed;
  const chunks: Float32Array[] = [];
  let count = 0;
  for await (const batch of batches) {
    const vectors = await asyncScope(() => encodedVectors(model, tensor(batch.pixels, batch.shape), signal));
    chunks.push(vectors);
    count += vectors.length / embedDim;
    onProgress?.("reading pictures", Math.min(count, wanted), wanted);
    if (count >= wanted || chunks.length === maxBatches) break;
  }
  const vectors = new Float32Array(count * embedDim);
  let at = 0;
  for (const chunk of chunks) {
    vectors.set(chunk, at);
    at += chunk.length;
  }
  const onRound = (done: number) => onProgress?.("k-means", done, rounds);
  const { quantize } = model;
  quantize.codebook.write(await kMeans(vectors, embedDim, nEmbed, quantize, random, { onRound, signal }));
  return count;
}

/** The rounds of k-means. */
const rounds = 10;
/** How many vectors are compared with the centres at a time, in operations: on two cores a fraction of a second. */
const work = 2 ** 32;

/** Runs ten rounds of Lloyd's algorithm from random vectors. A centre without vectors becomes a random vector. */
async function kMeans(
  vectors: Float32Array,
  channels: number,
  count: number,
  quantizer: Quantizer,
  random: Random,
  options: { readonly onRound: (done: number) => void; readonly signal?: AbortSignal },
): Promise<Float32Array> {
  const total = vectors.length / channels;
  const row = (n: number) => vectors.subarray(n * channels, (n + 1) * channels);
  const centres = new Float32Array(count * channels);
  const order = random.shuffle(total);
  for (let k = 0; k < count; k++) centres.set(row(order[k % total]), k * channels);
  for (let round = 0; round < rounds; round++) {
    const nearest = await nearestCentres(vectors, centres, channels, quantizer, options.signal);
    const sums = new Float64Array(count * channels), members = new Int32Array(count);
    nearest.forEach((k, n) => {
      members[k]++;
      for (let c = 0; c < channels; c++) sums[k * channels + c] += vectors[n * channels + c];
    });
    for (let k = 0; k < count; k++) {
      if (members[k] === 0) centres.set(row(random.integer(total)), k * channels);
      else for (let c = 0; c < channels; c++) centres[k * channels + c] = sums[k * channels + c] / members[k];
    }
    options.onRound(round + 1);
  }
  return centres;
}

/** The index of the nearest centre for each vector, computed for some vectors at a time. */
async function nearestCentres(
  vectors: Float32Array,
  centres: Float32Array,
  channels: number,
  quantizer: Quantizer,
  signal: AbortSignal | undefined,
): Promise<Int32Array> {
  const step = Math.max(1, Math.floor(work / (2 * centres.length))) * channels;
  const nearest = new Int32Array(vectors.length / channels);
  await asyncScope(async () => {
    const codes = quantizer.comparable(tensor(centres, [centres.length / channels, channels]));
    for (let from = 0; from < vectors.length; from += step) {
      signal?.throwIfAborted();
      const some = vectors.subarray(from, from + step);
      const found = await asyncScope(async () => {
        return await nearestCode(tensor(some, [some.length / channels, channels]), codes).ints();
      });
      nearest.set(found, from / channels);
      await pause(codes.backend);
    }
  });
  return nearest;
}
