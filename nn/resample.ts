// Linear maps of the rows and of the columns of a picture, and with them bilinear interpolation. Gradients flow through.
import { concat, matmul, scope, type Shape, type Tensor } from "../src/index.ts";

/** The weights [to, from] of the pixels of one axis in each pixel of the result. */
export interface AxisMap {
  readonly to: number;
  readonly from: number;
  readonly weights: Float32Array;
}

/** Maps rows and columns. @param picture [1, H, W, C] @returns [1, rows.to, columns.to, C] */
export function mapAxes(picture: Tensor, rows: AxisMap, columns: AxisMap): Tensor {
  const [, height, width, channels] = picture.shape;
  return scope(() => {
    const [r, c] = [rows, columns].map(({ weights, to, from }) => beside(picture, weights, [to, from]));
    const down = matmul(r, picture.reshape(height, width * channels)); // [to, W * C]
    const turned = down.reshape(rows.to, width, channels).permute(0, 2, 1).reshape(rows.to * channels, width);
    const across = matmul(turned, c, { transposeB: true }); // [to * C, to]
    return across.reshape(rows.to, channels, columns.to).permute(0, 2, 1).reshape(
      1,
      rows.to,
      columns.to,
      channels,
    );
  });
}

/** Maps rows and columns of each picture. @param images [B, H, W, C] @returns [B, rows.to, columns.to, C] */
export function mapAxesOfAll(images: Tensor, rows: AxisMap, columns: AxisMap): Tensor {
  return scope(() => {
    const pictures = Array.from({ length: images.shape[0] }, (_, i) => images.slice([i], [i + 1]));
    const all = pictures.map((picture) => mapAxes(picture, rows, columns));
    return all.length === 1 ? all[0] : concat(all, 0);
  });
}

/** A constant on the device of another tensor. */
export function beside(other: Tensor, values: ArrayLike<number>, shape: Shape): Tensor {
  const made = other.like(shape, "f32");
  made.write(Float32Array.from(values));
  return made;
}

/**
 * Linear interpolation along one axis. `place` returns where pixel i of the result lies among the `from` values: 1.25 is a
 * quarter of the way from the second to the third. Before the first and after the last value the axis is constant.
 */
export function linearMap(from: number, to: number, place: (i: number) => number): AxisMap {
  const weights = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const at = Math.min(from - 1, Math.max(0, place(i))), below = Math.floor(at), part = at - below;
    weights[i * from + below] += 1 - part;
    weights[i * from + Math.min(from - 1, below + 1)] += part;
  }
  return { to, from, weights };
}

/** From `from` to `to` pixels between the centres of pixels, as torch's interpolate has it. */
const between = (from: number, to: number) => linearMap(from, to, (i) => (i + 0.5) * from / to - 0.5);

/**
 * Pictures in another size, bilinearly and without antialiasing: torch's `interpolate(mode="bilinear", align_corners=False)`.
 * @param images [B, H, W, C] @returns [B, height, width, C]
 */
export function bilinear(images: Tensor, height: number, width: number = height): Tensor {
  return mapAxesOfAll(images, between(images.shape[1], height), between(images.shape[2], width));
}
