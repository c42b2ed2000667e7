// Cuts a rectangle out of a picture, puts it into a black square and resizes that, in one linear map for each axis, so that
// gradients flow back to the picture. It is the bilinear filter of TensorFlow.js without half pixel centres.
import type { Tensor } from "../../src/index.ts";
import { type AxisMap, mapAxes } from "../resample.ts";
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
  const axis = (start: number, length: number, whole: number): AxisMap => {
    // of an odd number of black rows, the larger half is behind the rectangle
    const before = centred ? Math.floor((side - length) / 2) : 0;
    const weights = new Float32Array(size * whole);
    for (let i = 0; i < size; i++) {
      const at = i * side / size, below = Math.floor(at), part = at - below;
      const add = (place: number, weight: number) => {
        const within = place - before;
        if (within >= 0 && within < length) weights[i * whole + start + within] += weight;
      };
      add(below, 1 - part);
      add(Math.min(side - 1, below + 1), part);
    }
    return { to: size, from: whole, weights };
  };
  return mapAxes(picture, axis(box.y, box.height, height), axis(box.x, box.width, width));
}
