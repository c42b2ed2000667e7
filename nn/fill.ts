// Fills modules with weights from an opened checkpoint. Tensors are matched by key; all shapes are compared before any value
// is read, and values are then read tensor by tensor. Nothing here opens a path or builds a model.
import type { CheckpointFile } from "../data/formats/file.ts";
import { type CheckpointSource, withCheckpoint } from "../data/formats/opener.ts";
import type { StoredTensor } from "../data/formats/stored_tensor.ts";
import type { Tensor } from "../src/index.ts";
import type { LPIPS } from "./lpips.ts";
import type { Module } from "./module.ts";
import { formatLoadReport, type LoadReport, matchState } from "./module.ts";

export interface FillOptions {
  /** Whose tensors these are, for the error message, such as "the autoencoder's". */
  readonly whose: string;
  /** Which of them must be in the file. Default all. */
  readonly isNeeded?: (key: string) => boolean;
  /** Called after each tensor with the bytes read so far and in all. */
  readonly onProgress?: (bytes: number, total: number) => void;
  /** Checked before each tensor. */
  readonly signal?: AbortSignal;
}

/**
 * Fills a module from a file, in place. Tensors of the module that are not in the file do not change, and tensors of the
 * file that are not in the module are not read.
 * @param prefix the module's own path in the file, such as "loss.perceptual_loss"
 * @throws an error with a table if a needed tensor is missing in the file or has another shape; then nothing was changed.
 */
export async function fillModule(
  module: Module,
  file: CheckpointFile,
  options: FillOptions & { readonly prefix?: string },
): Promise<LoadReport> {
  return await fillTensors(module.stateDict(options.prefix), file.tensors, file.path, options);
}

/** Like `fillModule`, for any tensors by their keys. @param path for the error message */
export async function fillTensors(
  own: ReadonlyMap<string, Tensor>,
  stored: ReadonlyMap<string, StoredTensor>,
  path: string,
  { whose, isNeeded = () => true, onProgress, signal }: FillOptions,
): Promise<LoadReport> {
  const report = matchState(own, new Map([...stored].map(([key, t]) => [key, t.shape])));
  const lost = unfilled(report).filter(isNeeded);
  if (lost.length > 0) {
    throw new Error(
      `${path}: ${lost.length} of ${whose} tensors do not fit the model\n${formatLoadReport(report)}`,
    );
  }
  const total = report.matched.reduce((sum, key) => sum + stored.get(key)!.byteLength, 0);
  let bytes = 0;
  for (const key of report.matched) {
    const source = stored.get(key)!, target = own.get(key)!;
    signal?.throwIfAborted();
    await source.readFloats((chunk, offset) => target.write(chunk, offset));
    bytes += source.byteLength;
    onProgress?.(bytes, total);
  }
  return report;
}

/** The keys of the model for which the file had no values. */
export function unfilled({ missing, mismatched }: LoadReport): string[] {
  return [...missing, ...mismatched.map(({ key }) => key)];
}

/** The two files of LPIPS weights, as torchvision and the LPIPS package publish them. */
export interface PerceptualFiles {
  /** The classifier, with keys `features.N.weight` or `N.weight`. */
  readonly backbone: CheckpointSource;
  /** The weights of each tap's channels, with keys `linK.model.1.weight`. */
  readonly heads: CheckpointSource;
}

/**
 * Fills an LPIPS network from its two published files.
 *
 * @example From files that the user of a page chose
 * ```ts
 * import { loadPerceptual, LPIPS } from "@tessera/vqgan/core";
 *
 * async function load(backbone: File, heads: File): Promise<LPIPS> {
 *   const lpips = new LPIPS("squeeze");
 *   await loadPerceptual(lpips, { backbone, heads });
 *   return lpips;
 * }
 * ```
 * @throws if a tensor of the network is missing in the files, or if a path is given and paths cannot be opened here.
 */
export async function loadPerceptual(lpips: LPIPS, { backbone, heads }: PerceptualFiles): Promise<void> {
  // torchvision numbers layers without slices: its `features.7` is our `net.slice2.7`
  const byNumber = new Map<string, Tensor>(), perChannel = new Map<string, Tensor>();
  for (const [key, t] of lpips.stateDict()) {
    if (key.startsWith("net.")) byNumber.set(key.replace(/^net\.slice\d+\./, ""), t);
    else if (key.startsWith("lin")) perChannel.set(key, t);
  }
  for (const [source, own] of [[backbone, byNumber], [heads, perChannel]] as const) {
    await withCheckpoint("loadPerceptual", source, async ({ tensors, path }) => {
      const stored = new Map([...tensors].map(([key, t]) => [key.replace(/^features\./, ""), t]));
      await fillTensors(own, stored, path, { whose: "the perceptual network's" });
    });
  }
  lpips.ready = true;
}
