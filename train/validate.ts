// Measures the model on pictures that it is not trained on: losses, PSNR and SSIM of the 8-bit pictures, and how much
// of the codebook they use.
import { type Batch, type ImageDataset, toPictures } from "../data/index.ts";
import { CodebookUsage } from "../nn/quantizers/codebook_usage.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import { aSignal, callback, checkOptions, object, orNull, type Rules } from "../src/check.ts";
import { asyncScope, noGrad, tensor } from "../src/index.ts";
import { inTurns } from "../src/parts.ts";
import { anIdentity, type IdentityLoss } from "./identity.ts";
import { psnr, ssim } from "./metrics.ts";
import { oneRank, type Ranks } from "./distributed/ranks.ts";
import type { Reconstructed } from "./report/worst.ts";
import type { Logs } from "./logs.ts";
import { validationParts } from "./validation_step.ts";

/** Averages over all pictures, under names that begin with `val/`. */
export type Measurements = Record<string, number>;

/** How long work on pictures is watched and stopped. */
export interface WatchedWork {
  /** Called with the number of pictures done, and of all of them. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Aborting it makes the function reject with its reason. */
  readonly signal?: AbortSignal;
}

export const workRules: Rules<WatchedWork> = { onProgress: callback, signal: aSignal };

/** How a validation is watched. */
export interface ValidateOptions extends WatchedWork {
  /** Called with each picture and what the model made of it, for example to find the worst ones. */
  readonly onPicture?: (picture: Reconstructed) => void;
  /** The identity loss to measure as well. Default: none. */
  readonly identity?: IdentityLoss | null;
  /** The processes among which the pictures are dealt out; `onPicture` hears of those of this one. Default: this one alone. */
  readonly ranks?: Ranks;
}

/** What a rank has measured. */
interface Measured {
  readonly sums: Measurements;
  readonly pictures: number;
  readonly counts: Int32Array;
  /** Why it could not. */
  readonly failure: string | null;
}

/**
 * Goes through a dataset once; it must not shuffle.
 * @returns taming's val/ losses, and val/identity_loss if it is asked for; val/psnr (dB) and val/ssim, means over pictures;
 * val/codebook_usage (fraction of the codes that were chosen) and val/perplexity over all pictures, of which there are
 * val/codebook_tokens tokens (fewer tokens than codes cannot use all codes); val/pictures, how many could be read.
 * @throws if none of them can be read
 */
export async function validate(
  model: VQGAN,
  dataset: ImageDataset,
  batchSize: number,
  globalStep: number,
  options: ValidateOptions = {},
): Promise<Measurements> {
  checkOptions("validate", options, {
    ...workRules,
    onPicture: callback,
    identity: orNull(anIdentity),
    ranks: object,
  });
  const { onProgress, ranks = oneRank } = options;
  const sums: Measurements = {};
  const usage = new CodebookUsage(model.config.nEmbed);
  let pictures = 0, failure: { readonly error: unknown } | null = null;
  try {
    for await (const batch of dataset.once(batchSize, { rank: ranks.rank, size: ranks.size, block: 1 })) {
      const values = await measureBatch(model, batch, globalStep, usage, options);
      for (const [name, value] of Object.entries(values)) {
        sums[name] = (sums[name] ?? 0) + value * batch.pictures.length;
      }
      pictures += batch.pictures.length;
      onProgress?.(Math.min(pictures * ranks.size, dataset.length), dataset.length);
    }
  } catch (error) {
    failure = { error }; // the other ranks must hear of it
  }
  const mine = { sums, pictures, counts: usage.counts, failure: failure && String(failure.error) };
  const all = await ranks.gather<Measured>(mine, "validation");
  if (failure) throw failure.error;
  return together(all, dataset.length);
}

/** Adds up what all ranks have measured. @throws Error if one of them could not, or none has a picture */
function together(all: readonly Measured[], length: number): Measurements {
  const failed = all.findIndex(({ failure }) => failure !== null);
  if (failed >= 0) throw new Error(`rank ${failed}: ${all[failed].failure}`);
  const count = all.reduce((sum, { pictures }) => sum + pictures, 0);
  if (count === 0) throw new Error(`none of the ${length} validation pictures can be read`);
  const means: Measurements = {};
  for (const { sums } of all) {
    for (const [name, sum] of Object.entries(sums)) means[name] = (means[name] ?? 0) + sum;
  }
  for (const name of Object.keys(means)) means[name] /= count;
  const counts = all[0].counts.map((_, code) => all.reduce((sum, { counts }) => sum + counts[code], 0));
  const { usage, perplexity, total } = CodebookUsage.of(counts).summary();
  return {
    ...means,
    "val/codebook_usage": usage,
    "val/perplexity": perplexity,
    "val/codebook_tokens": total,
    "val/pictures": count,
  };
}

function measureBatch(
  model: VQGAN,
  batch: Batch,
  globalStep: number,
  usage: CodebookUsage,
  { signal, onPicture, identity }: ValidateOptions,
): Promise<Measurements> {
  return asyncScope(async () => {
    const images = tensor(batch.pixels, batch.shape);
    const parts = validationParts(model, images, globalStep);
    const { logs, reconstruction, indices } = await inTurns(images.backend, parts, { signal });
    const term = await identity?.of(images);
    const named = term ? { ...logs, "val/identity_loss": noGrad(() => term.call(reconstruction)) } : logs;
    const made = toPictures(await reconstruction.floats(), reconstruction.shape, model.range);
    usage.add(await indices.ints());
    const each = (measure: typeof psnr) => made.map((picture, i) => measure(batch.pictures[i], picture));
    const mean = (all: readonly number[]) => all.reduce((sum, one) => sum + one, 0) / all.length;
    const noise = each(psnr), values: Measurements = { "val/psnr": mean(noise) };
    if (batch.shape[1] >= 11) values["val/ssim"] = mean(each(ssim));
    made.forEach((output, i) =>
      onPicture?.({ path: batch.paths[i], psnr: noise[i], input: batch.pictures[i], output })
    );
    return { ...values, ...await readItems(named) };
  });
}

/**
 * Reads the numbers in one-element tensors. They are read together, because on a GPU many reads take as long as one.
 */
export async function readItems(logs: Logs): Promise<Record<string, number>> {
  return Object.fromEntries(
    await Promise.all(Object.entries(logs).map(async ([name, t]) => [name, await t.item()] as const)),
  );
}
