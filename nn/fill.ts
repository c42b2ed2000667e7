// Fills modules with weights from an opened checkpoint. Tensors are matched by key; all shapes are compared before any value
// is read, and values are then read tensor by tensor. Nothing here opens a path or builds a model.
import type { CheckpointFile } from "../data/formats/file.ts";
import type { OpenOptions } from "../data/formats/opener.ts";
import { FormatError } from "../data/formats/source.ts";
import type { StoredTensor } from "../data/formats/stored_tensor.ts";
import type { Shape, Tensor } from "../src/index.ts";
import type { Module } from "./module.ts";
import { type LoadReport, matchState } from "./module.ts";

export interface FillOptions extends OpenOptions {
  /** Whose tensors these are, for the error message, such as "the autoencoder's". */
  readonly whose: string;
  /** Which of them must be in the file. Default all. */
  readonly isNeeded?: (key: string) => boolean;
}

/**
 * Fills a module from a file, in place. Tensors of the module that are not in the file do not change, and tensors of the
 * file that are not in the module are not read.
 * @param prefix the module's own path in the file, such as "loss.perceptual_loss"
 * @throws FormatError if a needed tensor is missing in the file or has another shape, and then nothing was changed; or if
 * the file holds values that are not finite.
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
  const report = checkFit(own, stored, path, { whose, isNeeded });
  const total = report.matched.reduce((sum, key) => sum + stored.get(key)!.byteLength, 0);
  let bytes = 0;
  const broken: string[] = [];
  let wrong = 0;
  for (const key of report.matched) {
    const source = stored.get(key)!, target = own.get(key)!;
    signal?.throwIfAborted();
    const before = wrong;
    await source.readFloats((chunk, offset) => {
      if (!areFinite(chunk)) wrong += chunk.filter((v) => !Number.isFinite(v)).length;
      target.write(target.dtype === "i32" ? Int32Array.from(chunk) : chunk, offset);
    });
    if (wrong > before) broken.push(key);
    bytes += source.byteLength;
    onProgress?.(bytes, total, "read");
  }
  if (broken.length === 0) return report;
  throw new FormatError(
    path,
    `${wrong} of its numbers are NaN or infinite, in ${broken.length} of ${own.size} tensors, first in ${
      broken[0]
    }`,
    "its training went wrong, or its numbers did not fit the type that they were saved in; use an earlier checkpoint",
  );
}

/** v - v is 0, but NaN if v is NaN or infinite. */
function areFinite(values: Float32Array): boolean {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i] - values[i];
  return sum === 0;
}

/**
 * Compares keys and shapes, before any value is read.
 * @throws one line if a needed tensor is missing or has another shape
 */
export function checkFit(
  own: ReadonlyMap<string, { readonly shape: Shape }>,
  stored: ReadonlyMap<string, StoredTensor>,
  path: string,
  { whose, isNeeded = () => true }: FillOptions,
): LoadReport {
  const report = matchState(own, new Map([...stored].map(([key, t]) => [key, t.shape])));
  const missing = report.missing.filter(isNeeded);
  const mismatched = report.mismatched.filter(({ key }) => isNeeded(key));
  const lost = missing.length + mismatched.length;
  if (lost === 0) return report;
  const shapes = mismatched.map(({ key, expected, found }) => `${key}: [${found}], expected [${expected}]`);
  const details = [
    ...some(["is missing", "are missing"], missing),
    ...some(["has another shape", "have another shape"], shapes),
    ...some(["in the file is not used", "in the file are not used"], report.unexpected),
  ];
  throw new FormatError(
    path,
    `${lost} of ${whose} tensors do not fit the model: ${details.join(", ")}`,
    "inspect lists what is in it",
  );
}

/** "3 are missing (a, b, ...)" */
function some([one, several]: readonly [string, string], names: readonly string[]): string[] {
  if (names.length === 0) return [];
  const shown = names.length > 2 ? [...names.slice(0, 2), "..."] : names;
  return [`${names.length} ${names.length === 1 ? one : several} (${shown.join(", ")})`];
}

/** The keys of the model for which the file had no values. */
export function unfilled({ missing, mismatched }: LoadReport): string[] {
  return [...missing, ...mismatched.map(({ key }) => key)];
}
