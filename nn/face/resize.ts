// Cuts a rectangle out of a picture, puts it into a black square and resizes that, in one linear map for each axis, so that
// gradients flow back to the picture. It is the bilinear filter of TensorFlow.js without half pixel centres.
import { matmul, scope, type Shape, type Tensor } from "../../src/index.ts";
import type { Box } from "./boxes.ts";

/**
 * The rectangle of one picture as a square.
 * @param picture [1, H, W, 3] @param box whole pixels within the picture @param size the side of the result
 * @param centred whether the rectangle lies in the middle of its black square, instead of at the top left
 * @returns [1, size, size, 3]
 */
export function squareOf(picture: Tensor, box: Box, size: number, centred: boolean): Tensor {
  const [, height, width] = picture.shape;
  const side = Math.max(box.width, box.height);
  // of an odd number of black rows, the larger half is behind the rectangle
  const before = (length: number) => centred ? Math.floor((side - length) / 2) : 0;
  const taps = (start: number, length: number, whole: number) =>
    beside(picture, weightsOf(start, length, whole, side, before(length), size), [size, whole]);
  return scope(() => {
    const rows = taps(box.y, box.height, height), columns = taps(box.x, box.width, width);
    const down = matmul(rows, picture.reshape(height, width * 3)); // [size, W * 3]
    const turned = down.reshape(size, width, 3).permute(0, 2, 1).reshape(size * 3, width);
    const across = matmul(turned, columns, { transposeB: true }); // [size * 3, size]
    return across.reshape(size, 3, size).permute(0, 2, 1).reshape(1, size, size, 3);
  });
}

/** The weights [size, whole] of the pixels of one axis in each pixel of the result. */
function weightsOf(
  start: number,
  length: number,
  whole: number,
  side: number,
  before: number,
  size: number,
): Float32Array {
  const weights = new Float32Array(size * whole), ratio = side / size;
  for (let i = 0; i < size; i++) {
    const at = i * ratio, below = Math.floor(at), part = at - below;
    const add = (place: number, weight: number) => {
      const within = place - before;
      if (within >= 0 && within < length) weights[i * whole + start + within] += weight;
    };
    add(below, 1 - part);
    add(Math.min(side - 1, below + 1), part);
  }
  return weights;
}

/** A constant on the device of another tensor. */
export function beside(other: Tensor, values: ArrayLike<number>, shape: Shape): Tensor {
  const made = other.like(shape, "f32");
  made.write(Float32Array.from(values));
  return made;
}
