// Resizes pictures as OpenCV's bilinear filter does, to the same bytes: taming's loader (albumentations) shrinks with it. The
// filter looks at four pixels only, however much it shrinks, so large photographs get moire patterns.
import { Picture } from "./picture.ts";

/** OpenCV computes with weights of 11 bits. */
const one = 2048;

/** For each place of the result: the two places that it lies between, and their weights. */
interface Taps {
  readonly first: Int32Array;
  readonly second: Int32Array;
  readonly firstWeight: Int32Array;
  readonly secondWeight: Int32Array;
}

/**
 * Returns the picture with another width and height.
 * @param width in pixels
 * @param height in pixels
 */
export function resizeBilinear(picture: Picture, width: number, height: number): Picture {
  const { width: fromWidth, height: fromHeight, pixels } = picture;
  if (width === fromWidth && height === fromHeight) return picture;
  // OpenCV averages here; the general way rounds some values the other way
  if (fromWidth === 2 * width && fromHeight === 2 * height) return halved(picture);
  const columns = tapsOf(fromWidth, width), rows = tapsOf(fromHeight, height);
  atEdges(columns);
  const made = new Uint8Array(width * height * 3);
  const line = (y: number, into: Int32Array) => {
    const { first, second, firstWeight, secondWeight } = columns;
    for (let x = 0, to = 0; x < width; x++) {
      const a = (y * fromWidth + first[x]) * 3, b = (y * fromWidth + second[x]) * 3;
      for (let c = 0; c < 3; c++) {
        into[to++] = pixels[a + c] * firstWeight[x] + pixels[b + c] * secondWeight[x];
      }
    }
    return into;
  };
  const above = new Int32Array(width * 3), below = new Int32Array(width * 3);
  for (let y = 0, to = 0; y < height; y++) {
    line(rows.first[y], above);
    line(rows.second[y], below);
    const a = rows.firstWeight[y], b = rows.secondWeight[y];
    for (let i = 0; i < above.length; i++) {
      // the roundings of OpenCV's vector instructions, which its plain loops repeat
      made[to++] = (((a * (above[i] >> 4)) >> 16) + ((b * (below[i] >> 4)) >> 16) + 2) >> 2;
    }
  }
  return new Picture(width, height, made);
}

function tapsOf(from: number, to: number): Taps {
  const first = new Int32Array(to), second = new Int32Array(to);
  const firstWeight = new Int32Array(to), secondWeight = new Int32Array(to);
  const scale = 1 / (to / from);
  for (let i = 0; i < to; i++) {
    const place = Math.fround((i + 0.5) * scale - 0.5), below = Math.floor(place);
    const part = Math.fround(place - below);
    first[i] = Math.max(0, Math.min(from - 1, below));
    second[i] = Math.max(0, Math.min(from - 1, below + 1));
    firstWeight[i] = roundHalfEven(Math.fround(1 - part) * one);
    secondWeight[i] = roundHalfEven(part * one);
  }
  return { first, second, firstWeight, secondWeight };
}

/** Outside of the picture OpenCV gives the whole weight to the last column. It does not do so with rows. */
function atEdges({ first, second, firstWeight, secondWeight }: Taps): void {
  for (let i = 0; i < first.length; i++) {
    if (first[i] !== second[i]) continue;
    firstWeight[i] = one;
    secondWeight[i] = 0;
  }
}

function halved({ width: fromWidth, height: fromHeight, pixels }: Picture): Picture {
  const width = fromWidth / 2, height = fromHeight / 2, made = new Uint8Array(width * height * 3);
  for (let y = 0, to = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      for (let c = 0; c < 3; c++) {
        const a = (2 * y * fromWidth + 2 * x) * 3 + c, b = a + fromWidth * 3;
        made[to++] = (pixels[a] + pixels[a + 3] + pixels[b] + pixels[b + 3] + 2) >> 2;
      }
    }
  }
  return new Picture(width, height, made);
}

/** Rounds as processors do. */
function roundHalfEven(x: number): number {
  const below = Math.floor(x);
  if (x - below !== 0.5) return Math.round(x);
  return below % 2 === 0 ? below : below + 1;
}
