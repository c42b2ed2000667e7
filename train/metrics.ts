// Measures how close a reconstruction is to its original, on the 8-bit pixels that a file would hold.
import { checkPicture, type Picture } from "../data/pictures/picture.ts";
import { finish, type Parts } from "../src/parts.ts";

/**
 * Peak signal-to-noise ratio in decibels: 10 log10(255^2 / mean squared difference); Infinity for equal pictures.
 * @throws if the pictures differ in size.
 */
export function psnr(a: Picture, b: Picture): number {
  checkSizes("psnr", a, b);
  let sum = 0;
  for (let i = 0; i < a.pixels.length; i++) sum += (a.pixels[i] - b.pixels[i]) ** 2;
  return 10 * Math.log10(255 ** 2 / (sum / a.pixels.length));
}

/** A Gaussian window of 11 pixels with sigma 1.5 and sum 1. */
const window = (() => {
  const weights = Array.from({ length: 11 }, (_, i) => Math.exp(-((i - 5) ** 2) / (2 * 1.5 ** 2)));
  const sum = weights.reduce((a, b) => a + b);
  return weights.map((w) => w / sum);
})();

/**
 * Structural similarity (Wang et al. 2004) of the brightness (BT.601 luma), in [-1, 1], 1 for equal pictures. The
 * Gaussian window has 11x11 pixels and sigma 1.5; K1 = 0.01, K2 = 0.03. The result is the mean over all windows within
 * the picture.
 * @throws if the pictures differ in size or are smaller than the window.
 */
export function ssim(a: Picture, b: Picture): number {
  return finish(ssimParts(a, b));
}

/** `ssim` in parts, between which other events may run: on large pictures it takes seconds. */
export function* ssimParts(a: Picture, b: Picture): Parts<number> {
  checkSizes("ssim", a, b);
  if (Math.min(a.width, a.height) < 11) {
    throw new Error(`ssim: the picture has ${a.width}x${a.height} pixels, but its window needs 11x11`);
  }
  const x = luma(a), y = luma(b);
  const product = (p: Float64Array, q: Float64Array) => p.map((value, i) => value * q[i]);
  const means: Float64Array[] = [];
  for (const values of [() => x, () => y, () => product(x, x), () => product(y, y), () => product(x, y)]) {
    means.push(blur(values(), a.width, a.height));
    yield;
  }
  const [mx, my, xx, yy, xy] = means;
  const c1 = (0.01 * 255) ** 2, c2 = (0.03 * 255) ** 2;
  let sum = 0;
  for (let i = 0; i < mx.length; i++) {
    const squares = mx[i] ** 2 + my[i] ** 2, across = mx[i] * my[i];
    const variances = xx[i] + yy[i] - squares, covariance = xy[i] - across;
    sum += (2 * across + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2));
  }
  return sum / mx.length;
}

function luma({ pixels }: Picture): Float64Array {
  return Float64Array.from({ length: pixels.length / 3 }, (_, i) => {
    return 0.299 * pixels[3 * i] + 0.587 * pixels[3 * i + 1] + 0.114 * pixels[3 * i + 2];
  });
}

/**
 * Averages under the window at all positions within the picture: [height - 10, width - 10]. Rows come first, then
 * columns.
 */
function blur(values: Float64Array, width: number, height: number): Float64Array {
  const reach = window.length - 1, across = width - reach, down = height - reach;
  const rows = new Float64Array(height * across), out = new Float64Array(down * across);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < across; x++) {
      for (let k = 0; k <= reach; k++) rows[y * across + x] += window[k] * values[y * width + x + k];
    }
  }
  for (let y = 0; y < down; y++) {
    for (let x = 0; x < across; x++) {
      for (let k = 0; k <= reach; k++) out[y * across + x] += window[k] * rows[(y + k) * across + x];
    }
  }
  return out;
}

function checkSizes(what: string, a: Picture, b: Picture): void {
  checkPicture(what, a);
  checkPicture(what, b);
  if (a.width !== b.width || a.height !== b.height) {
    throw new Error(`${what}: the pictures have ${a.width}x${a.height} and ${b.width}x${b.height} pixels`);
  }
}
