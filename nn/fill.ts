// Weights from an opened checkpoint into modules: placed by key, compared before a value is read, streamed tensor by
// tensor. Nothing here opens a path or builds a model.
import type { CheckpointFile } from "../data/formats/file.ts";
import { type CheckpointSource, withCheckpoint } from "../data/formats/opener.ts";
import type { StoredTensor } from "../data/formats/stored_tensor.ts";
import type { Tensor } from "../src/index.ts";
import type { LPIPS } from "./lpips.ts";
import type { Module } from "./module.ts";
import { formatLoadReport, type LoadReport, matchState } from "./module.ts";

export interface FillOptions {
  /** For the error: whose tensors these are, such as "the autoencoder's". */
  readonly whose: string;
  /** Which of them the file has to have. Default all. */
  readonly isNeeded?: (key: string) => boolean;
  /** Called after each tensor with the bytes read so far and in all. */
  readonly onProgress?: (bytes: number, total: number) => void;
  /** Looked at before each tensor. */
  readonly signal?: AbortSignal;
}

/**
 * Fills a module from a file, in place. Tensors that only one of them has are left alone; what else the file holds is
 * never read.
 * @param prefix the module's own path in the file, such as "loss.perceptual_loss"
 * @throws with a table if the file lacks a tensor that is needed, or has it in another shape; nothing is changed then.
 */
export async function fillModule(
  module: Module,
  file: CheckpointFile,
  options: FillOptions & { readonly prefix?: string },
): Promise<LoadReport> {
  return await fillTensors(module.stateDict(options.prefix), file.tensors, file.path, options);
}

/** As `fillModule`, of any tensors by their keys; `path` is for the error. */
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

/** The keys of the model that the file had no values for. */
export function unfilled({ missing, mismatched }: LoadReport): string[] {
  return [...missing, ...mismatched.map(({ key }) => key)];
}

/** LPIPS weights as torchvision and the LPIPS package publish them, each from whatever a checkpoint is read from. */
export interface PerceptualFiles {
  /** The classifier: keys `features.N.weight` or `N.weight`. */
  readonly backbone: CheckpointSource;
  /** The weights per channel: keys `linK.model.1.weight`. */
  readonly heads: CheckpointSource;
}

/**
 * Fills an LPIPS network from its two published files.
 *
 * @example From files that a page was given
 * ```ts
 * import { loadPerceptual, LPIPS } from "@tessera/vqgan/core";
 *
 * async function load(backbone: File, heads: File): Promise<LPIPS> {
 *   const lpips = new LPIPS("squeeze");
 *   await loadPerceptual(lpips, { backbone, heads });
 *   return lpips;
 * }
 * ```
 * @throws if a file lacks a tensor that the network needs; as `VQGAN.load` does if a path cannot be opened here.
 */
export async function loadPerceptual(lpips: LPIPS, { backbone, heads }: PerceptualFiles): Promise<void> {
  // torchvision counts layers through: its `features.7` is our `net.slice2.7`
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
