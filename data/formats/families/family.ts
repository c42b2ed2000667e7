// What a family is: a kind of model that is recognised by the names of its tensors. The registry (registry.ts) lists all.
import type { VQModelOverrides } from "../config.ts";
import type { StoredTensor } from "../stored_tensor.ts";

/** What a family is recognised by: the names and shapes of a model's tensors. */
export interface Keys {
  /** Whether there is a tensor of this name. */
  has(key: string): boolean;
  /** The shape of the tensor of this name; undefined if there is none. */
  shape(key: string): readonly number[] | undefined;
}

/** What readable families and others have in common. */
export interface ModelKind {
  /** What messages call such a model, for example "diffusers' VQModel". */
  readonly name: string;
  /**
   * Keys of which every model of the family has at least one. The search for a model inside a file starts from them, because
   * what stands before such a key is the model's prefix.
   */
  readonly landmarks: readonly string[];
  /** Whether a model with these keys is of this family. */
  isOne(keys: Keys): boolean;
}

/** A kind of VQGAN that can be read. */
export interface Family extends ModelKind {
  /** Returns the tensors under taming's keys, without those that only its own library needs. */
  read(tensors: ReadonlyMap<string, StoredTensor>): Map<string, StoredTensor>;
  /** What neither the tensors nor the settings in a file say about such a model. */
  readonly config?: VQModelOverrides;
}

/** A kind of model that is recognised only to say what it is. */
export interface Stranger extends ModelKind {
  /** Why it cannot be used here, as the rest of a sentence that begins with its name. */
  readonly reason: string;
}

/** The first and the last convolution, which all VQGANs and their nearest neighbours call the same. */
export const coderLandmarks: readonly string[] = ["encoder.conv_in.weight", "decoder.conv_out.weight"];

/** Pairs of names, one or several path segments each: another library's, and taming's. */
export type NamePairs = readonly (readonly [theirs: string, tamings: string])[];

/** Replaces names in a key, segment by segment: theirs by taming's. */
export function toTaming(key: string, names: NamePairs): string {
  return replaced(key, names);
}

/** Replaces taming's names in a key by theirs. */
export function fromTaming(key: string, names: NamePairs): string {
  return replaced(key, names.map(([theirs, tamings]) => [tamings, theirs] as const));
}

function replaced(key: string, names: readonly (readonly [string, string])[]): string {
  let path = `.${key}.`;
  for (const [from, to] of names) path = path.replaceAll(`.${from}.`, `.${to}.`);
  return path.slice(1, -1);
}

/**
 * Counts the decoder's levels from the other end. taming's level 0 is the full resolution; in other libraries it is the one
 * that runs first, the lowest.
 * @param levels the number of levels
 */
export function fromOtherEnd(key: string, levels: number): string {
  return key.replace(
    /^(decoder\.up\.)(\d+)(?=\.)/,
    (_, path, level) => `${path}${levels - 1 - Number(level)}`,
  );
}

/** One more than the highest number that follows `path` in a key. */
export function countBelow(keys: Iterable<string>, path: string): number {
  let count = 0;
  for (const key of keys) {
    if (!key.startsWith(path)) continue;
    const level = Number.parseInt(key.slice(path.length), 10);
    if (level >= count) count = level + 1;
  }
  return count;
}
