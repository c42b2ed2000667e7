// Checks of the images and the tokens that a VQGAN is given.
import type { PixelRange } from "../data/pictures/picture.ts";
import { isWhole, shown } from "../src/check.ts";
import { Tensor, tensor } from "../src/index.ts";
import { checkFloats } from "../src/operands.ts";

/** Rows and columns. */
export type Grid = readonly [rows: number, columns: number];

/** @throws unless images are [B, H, W, 3] with sides that are multiples of the factor; the message has the nearest ones */
export function checkImages(images: Tensor, factor: number): void {
  checkFloats("VQGAN", images);
  const [, height, width, channels] = images.shape;
  if (images.ndim !== 4 || channels !== 3) {
    throw new Error(`VQGAN: images have shape [${images.shape}], expected [batch, height, width, 3]`);
  }
  const sides = [["height", height], ["width", width]] as const;
  const problems = sides.filter(([, n]) => n === 0 || n % factor !== 0).map(([side, n]) => {
    const below = Math.floor(n / factor) * factor, above = below + factor;
    return `${side} ${n} (nearest: ${below > 0 ? `${below} or ` : ""}${above})`;
  });
  if (problems.length > 0) {
    throw new Error(
      `VQGAN: image sides must be multiples of ${factor}, but got ${problems.join(" and ")}; resize or crop`,
    );
  }
}

/**
 * Returns what is wrong with images and their latents, or null.
 * @param power the mean of the images' squared values, or a number that is not finite if the latents are not
 */
export function problemOf(power: number, range: PixelRange): string | null {
  if (!Number.isFinite(power)) {
    return "encode: the images (or the weights) hold NaN or infinite values, so there are no tokens";
  }
  if (power <= 4) return null; // values within the range have at most 1
  const wanted = range === "signed" ? "-1 to 1" : "0 to 1";
  return `encode: the images' values are about ${
    Math.sqrt(power).toPrecision(3)
  } large, expected ${wanted}: toFloats() ` +
    "makes them of bytes";
}

/**
 * Tokens as an i32 tensor [B, h, w].
 * @throws if they are not tokens of this vocabulary, or do not fill the grid. If they are in a tensor, their
 * values are checked later, when codes are looked up, and only on the CPU.
 */
export function tokensOnGrid(
  indices: Tensor | ArrayLike<number>,
  grid: Grid | undefined,
  vocabulary: number,
): Tensor {
  const tokens = indices instanceof Tensor ? indices : checkedTokens(indices, vocabulary);
  if (tokens.dtype !== "i32") {
    throw new Error(
      `decodeTokens: the tokens are ${tokens.dtype}, expected i32: make them with tensor(Int32Array.from(list), shape)`,
    );
  }
  if (!grid) {
    if (tokens.ndim === 3) return tokens;
    throw new Error(`decodeTokens: tokens have shape [${tokens.shape}]; give the grid as [height, width]`);
  }
  const [height, width] = grid;
  if (grid.length !== 2 || !isWhole(height) || !isWhole(width)) {
    throw new Error(
      `decodeTokens: the grid is ${
        shown(grid)
      }, expected [height, width]; the number of pictures follows from the tokens`,
    );
  }
  if (tokens.size === 0 || tokens.size % (height * width) !== 0) {
    throw new Error(`decodeTokens: ${tokens.size} tokens do not fill grids of ${height}x${width}`);
  }
  return tokens.reshape(-1, height, width);
}

function checkedTokens(indices: ArrayLike<number>, vocabulary: number): Tensor {
  if (typeof indices !== "object" || indices === null || !("length" in indices)) {
    throw new TypeError(`decodeTokens: got ${shown(indices)}, expected a list of tokens or an i32 tensor`);
  }
  const tokens = Array.from(indices);
  const bad = tokens.findIndex((t) => !isWhole(t) || t >= vocabulary);
  if (bad < 0) return tensor(Int32Array.from(tokens));
  throw new Error(`decodeTokens: token ${shown(tokens[bad])} at ${bad} is not in 0..${vocabulary - 1}`);
}

/** The square grid that the tokens fill. @throws if they are not a list, or do not fill a square */
export function squareOf(tokens: ArrayLike<number>): Grid {
  const { length } = tokens ?? {};
  if (!isWhole(length)) {
    const advice = tokens instanceof Promise ? "; await it first" : "";
    throw new TypeError(`pictureOf: the tokens are ${shown(tokens)}, expected a list of numbers${advice}`);
  }
  const side = Math.sqrt(length);
  if (Number.isInteger(side) && side > 0) return [side, side];
  throw new Error(`pictureOf: ${length} tokens do not fill a square; give the grid as [rows, columns]`);
}
