// A face between two faces: their vectors are mixed, and each mixture becomes the nearest code.
import { asyncScope, noGrad, type Picture, tensor, toPictures } from "../../core.ts";
import type { Engine } from "./engine.ts";

/** @param share how much of the second face there is, from 0 to 1. `a` and `b` are latents as `encode` returns them */
export async function mix(
  { model }: Engine,
  { a, b, grid, share }: {
    readonly a: Float32Array;
    readonly b: Float32Array;
    readonly grid: readonly [rows: number, columns: number];
    readonly share: number;
  },
): Promise<{ readonly tokens: Int32Array; readonly picture: Picture }> {
  const { quantize } = model;
  return await asyncScope(async () => {
    const between = a.map((value, i) => value + (b[i] - value) * share);
    const latents = tensor(between, [1, ...grid, model.config.embedDim]);
    const indices = noGrad(() => quantize.encode(latents, quantize.used));
    const made = model.decodeTokens(indices);
    const [picture] = toPictures(await made.floats(), made.shape, model.range);
    return { tokens: await indices.ints(), picture };
  });
}
