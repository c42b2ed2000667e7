// Tokens to a picture.
import type { Picture } from "../../core.ts";
import type { Engine } from "./engine.ts";

/** @throws if the model has no decoder */
export async function decode(
  { model }: Engine,
  { tokens, grid }: { readonly tokens: Int32Array; readonly grid: readonly [rows: number, columns: number] },
): Promise<{ readonly picture: Picture; readonly ms: number }> {
  const start = performance.now();
  const picture = await model.pictureOf(tokens, grid);
  return { picture, ms: performance.now() - start };
}
