// Keeps the codebook in use. taming's initial codes, uniform in +-1/K, are closer to each other than to the encoder's
// vectors, so that only a few are ever chosen. This file does two things about it: the codes start at the k-means
// centres of the first vectors, and codes that are never chosen move to vectors of the current pictures (as in Jukebox,
// Dhariwal et al. 2020, section 3.1).
import type { Batch } from "../data/pictures/dataset.ts";
import { CodebookUsage } from "../nn/quantizers/codebook_usage.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import { aSignal, callback, check, checkOptions, rule, type Rules, whole } from "../src/check.ts";
import { asyncScope, nearestCode, noGrad, type Random, Tensor, tensor } from "../src/index.ts";
import { inTurns, pause } from "../src/parts.ts";
import type { Adam } from "./adam.ts";
import { checkAdam } from "./optimizers.ts";
import { aRandom, checkModel } from "./step_checks.ts";

const tensors = rule(
  "a list of tensors",
  (value) => Array.isArray(value) && value.every((t) => t instanceof Tensor),
);

/** Returns the encoder's vectors for some pictures, before quantization: [B * h * w, embedDim], row-major. */
async function encodedVectors(model: VQGAN, images: Tensor, signal?: AbortSignal): Promise<Float32Array> {
  return await noGrad(() =>
    asyncScope(async () => (await inTurns(images.backend, model.latentParts(images), { signal })).floats())
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
  model.quantize.codebook.write(await kMeans(vectors, embedDim, nEmbed, random, { onRound, signal }));
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
  random: Random,
  options: { readonly onRound: (done: number) => void; readonly signal?: AbortSignal },
): Promise<Float32Array> {
  const total = vectors.length / channels;
  const row = (n: number) => vectors.subarray(n * channels, (n + 1) * channels);
  const centres = new Float32Array(count * channels);
  const order = random.shuffle(total);
  for (let k = 0; k < count; k++) centres.set(row(order[k % total]), k * channels);
  for (let round = 0; round < rounds; round++) {
    const nearest = await nearestCentres(vectors, centres, channels, options.signal);
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
  signal: AbortSignal | undefined,
): Promise<Int32Array> {
  const step = Math.max(1, Math.floor(work / (2 * centres.length))) * channels;
  const nearest = new Int32Array(vectors.length / channels);
  await asyncScope(async () => {
    const codes = tensor(centres, [centres.length / channels, channels]);
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

/** Counts which codes training chooses, and moves codes that are never chosen to vectors of the current pictures. */
export class DeadCodeRestart {
  /** The model whose codes are moved. */
  readonly model: VQGAN;
  /** The autoencoder's optimizer. The moments of a code that moves are cleared. */
  readonly optimizer: Adam;
  /** Chooses the vectors to which codes move. */
  readonly random: Random;
  readonly #usage: CodebookUsage;
  readonly #pending: Tensor[] = [];

  /** Starts to count. Training then calls `observe` after each step, and `restart` from time to time. @throws TypeError if an argument has another type */
  constructor(model: VQGAN, optimizer: Adam, random: Random) {
    checkModel("DeadCodeRestart", model);
    checkAdam("DeadCodeRestart", optimizer);
    check("DeadCodeRestart", "random", random, aRandom);
    this.model = model;
    this.optimizer = optimizer;
    this.random = random;
    this.#usage = new CodebookUsage(model.config.nEmbed);
  }

  /** How often each code was chosen since the last restart. */
  get counts(): Int32Array {
    return this.#usage.counts;
  }

  /** Takes ownership of index tensors that were kept. They are read later, and then freed. */
  observe(indices: readonly Tensor[]): void {
    check("DeadCodeRestart", "the argument of observe", indices, tensors);
    this.#pending.push(...indices);
  }

  /** Reads the pending tensors, which brings `counts` up to date. @throws if one has an index outside the codebook */
  async collect(): Promise<Int32Array> {
    const pending = this.#pending.splice(0);
    try {
      for (const indices of pending) this.#usage.add(await indices.ints());
    } finally {
      for (const indices of pending) indices.dispose();
    }
    return this.counts;
  }

  /**
   * Moves every code that was not chosen since the last call, clears its Adam moments, and starts to count again. A
   * frozen codebook stays as it is.
   * @returns how many codes were moved, and the effective number of codes before the move
   */
  async restart(images: Tensor): Promise<{ moved: number; perplexity: number }> {
    const counts = await this.collect();
    const moved = this.model.quantize.codebook.requiresGrad ? await this.#move(counts, images) : 0;
    const { perplexity } = this.#usage.summary();
    this.#usage.clear();
    return { moved, perplexity };
  }

  async #move(counts: Int32Array, images: Tensor): Promise<number> {
    const { config: { nEmbed, embedDim }, quantize: { codebook } } = this.model;
    const vectors = await encodedVectors(this.model, images);
    const order = this.random.shuffle(vectors.length / embedDim);
    const { expAvg, expAvgSq } = this.optimizer.moments(keyOf(codebook, this.optimizer));
    const nothing = new Float32Array(embedDim);
    let moved = 0;
    for (let k = 0; k < nEmbed && moved < order.length; k++) {
      if (counts[k] > 0) continue;
      const from = order[moved++] * embedDim;
      codebook.write(vectors.slice(from, from + embedDim), k * embedDim);
      expAvg.write(nothing, k * embedDim);
      expAvgSq.write(nothing, k * embedDim);
    }
    return moved;
  }
}

/** Returns the key of a parameter in an optimizer. It depends on where the quantizer keeps its codebook. */
function keyOf(parameter: Tensor, { parameters }: Adam): string {
  for (const [key, p] of parameters) if (p === parameter) return key;
  throw new Error("DeadCodeRestart: the codebook is not one of the optimizer's parameters");
}
