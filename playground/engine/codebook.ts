// The codebook to look at: where each code lies, which are near to it, what lies on a walk along an axis, and what codes look
// like.
import { asyncScope, CodebookMap, type Neighbour, toPixels, type VQGAN } from "../../core.ts";
import type { Engine } from "./engine.ts";

/** Where the codes are. */
export interface CodebookPlaces {
  /** The places of the codes, `axes` numbers for each token. */
  readonly places: Float32Array;
  /** How many axes there are: three, or as many as a code has numbers. */
  readonly axes: number;
  /** The share of the variance that each axis shows. */
  readonly shares: readonly number[];
}

const maps = new WeakMap<VQGAN, Promise<CodebookMap>>();

/** The map of the model's codebook, which is made once. */
export function mapOf({ model }: Engine): Promise<CodebookMap> {
  const found = maps.get(model) ?? CodebookMap.of(model.quantize, Math.min(3, model.config.embedDim));
  maps.set(model, found);
  return found;
}

export async function codebook(engine: Engine, _: null): Promise<CodebookPlaces> {
  const map = await mapOf(engine);
  return { places: map.places(), axes: map.axes.length, shares: map.shares };
}

/** The codes nearest to one, which comes first. */
export async function neighbours(
  engine: Engine,
  { code, count }: { readonly code: number; readonly count: number },
): Promise<Neighbour[]> {
  const map = await mapOf(engine);
  return map.nearest(map.code(code), count);
}

/**
 * A walk from a code along an axis, in both directions: the code nearest to each stop.
 * @param request `stops` lie as far apart as a quarter of the standard deviation along the axis; the code itself is in the
 * middle
 */
export async function walk(
  engine: Engine,
  { code, axis, stops }: { readonly code: number; readonly axis: number; readonly stops: number },
): Promise<number[]> {
  const map = await mapOf(engine), from = map.code(code), direction = map.axes[axis];
  const places = map.places().filter((_, i) => i % map.axes.length === axis);
  const deviation = Math.sqrt(places.reduce((sum, place) => sum + place * place, 0) / places.length);
  return Array.from({ length: stops }, (_, stop) => {
    const far = (stop - (stops - 1) / 2) * deviation / 4;
    return map.nearest(from.map((value, c) => value + far * direction[c]), 1)[0].code;
  });
}

/** Pictures of a code have this many tiles along each side, all of the same code, because one alone would be all border. */
const tiles = 2;

/** What the decoder draws for each code alone. @returns squares of `side` pixels, one after the other */
export async function codePictures(
  { model }: Engine,
  { codes }: { readonly codes: readonly number[] },
): Promise<{ readonly pixels: Uint8Array; readonly side: number }> {
  const tokens = codes.flatMap((code) => Array<number>(tiles * tiles).fill(code));
  return await asyncScope(async () => {
    const made = model.decodeTokens(tokens, [tiles, tiles]);
    return { pixels: toPixels(await made.floats(), model.range), side: tiles * model.factor };
  });
}
