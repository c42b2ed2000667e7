// A picture to tokens, with the vectors that became codes and the distance of each to its code.
import {
  asyncScope,
  noGrad,
  type Picture,
  type PictureSource,
  readImage,
  tensor,
  toFloats,
} from "../../core.ts";
import type { Engine } from "./engine.ts";

/** A picture as the model sees it. */
export interface EncodedFace {
  /** The middle square of the picture in the model's size. */
  readonly picture: Picture;
  /** Row by row. */
  readonly tokens: Int32Array;
  readonly grid: readonly [rows: number, columns: number];
  /** The vectors before they are replaced by codes, rows x columns x embedDim numbers. */
  readonly latents: Float32Array;
  /** The distance from each vector to the code that replaced it. */
  readonly errors: Float32Array;
  /** Milliseconds that it took, without decoding the file. */
  readonly ms: number;
}

/** @throws ImageError if the picture cannot be decoded; an Error if the model has no encoder */
export async function encode(
  { model }: Engine,
  { source, size }: { readonly source: PictureSource; readonly size: number },
): Promise<EncodedFace> {
  const picture = await readImage(source, { size });
  const { quantize } = model, start = performance.now();
  return await asyncScope(async () => {
    const images = tensor(toFloats(picture.pixels, model.range), [1, size, size, 3]);
    const latents = noGrad(() => model.quant_conv.call(model.encoder.call(images)));
    const indices = quantize.encode(latents, quantize.used), [, rows, columns] = indices.shape;
    const errors = noGrad(() =>
      quantize.comparable(latents).sub(quantize.lookup(indices, quantize.used)).square().sum(-1).sqrt()
    );
    const values = {
      tokens: await indices.ints(),
      latents: await latents.floats(),
      errors: await errors.floats(),
    };
    return { ...values, picture, grid: [rows, columns], ms: performance.now() - start };
  });
}
