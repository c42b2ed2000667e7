// Linear maps of the rows and of the columns of a picture, and with them a bilinear filter. Gradients flow through.
import { concat, matmul, scope, type Shape, type Tensor } from "../src/index.ts";

/** The weights [to, from] of the pixels of one axis in each pixel of the result. */
export interface AxisMap {
  readonly to: number;
  readonly from: number;
  readonly weights: Float32Array;
}

/** Maps rows and columns. @param picture [1, H, W, 3] @returns [1, rows.to, columns.to, 3] */
export function mapAxes(picture: Tensor, rows: AxisMap, columns: AxisMap): Tensor {
  const [, height, width] = picture.shape;
  return scope(() => {
    const [r, c] = [rows, columns].map(({ weights, to, from }) => beside(picture, weights, [to, from]));
    const down = matmul(r, picture.reshape(height, width * 3)); // [to, W * 3]
    const turned = down.reshape(rows.to, width, 3).permute(0, 2, 1).reshape(rows.to * 3, width);
    const across = matmul(turned, c, { transposeB: true }); // [to * 3, to]
    return across.reshape(rows.to, 3, columns.to).permute(0, 2, 1).reshape(1, rows.to, columns.to, 3);
  });
}

/** A constant on the device of another tensor. */
export function beside(other: Tensor, values: ArrayLike<number>, shape: Shape): Tensor {
  const made = other.like(shape, "f32");
  made.write(Float32Array.from(values));
  return made;
}

/** The map of one axis from `from` to `to` pixels between the centres of pixels, as torch's interpolate has it. */
function bilinearMap(from: number, to: number): AxisMap {
  const weights = new Float32Array(to * from);
  for (let i = 0; i < to; i++) {
    const at = Math.max(0, (i + 0.5) * from / to - 0.5), below = Math.floor(at), part = at - below;
    weights[i * from + below] += 1 - part;
    weights[i * from + Math.min(from - 1, below + 1)] += part;
  }
  return { to, from, weights };
}

/**
 * Pictures as squares, bilinearly and without antialiasing: torch's `interpolate(mode="bilinear", align_corners=False)`.
 * @param images [B, H, W, 3] @returns [B, size, size, 3]
 */
export function bilinear(images: Tensor, size: number): Tensor {
  const [count, height, width] = images.shape;
  const rows = bilinearMap(height, size), columns = bilinearMap(width, size);
  return scope(() => {
    const all = Array.from({ length: count }, (_, i) => mapAxes(images.slice([i], [i + 1]), rows, columns));
    return all.length === 1 ? all[0] : concat(all, 0);
  });
}
