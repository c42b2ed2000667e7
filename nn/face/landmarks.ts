// Finds 68 landmarks of a face (jaw, brows, nose, eyes, mouth), as the npm package @vladmandic/face-api does: four blocks of
// separable convolutions that add up their outputs, an average, and one matrix.
import { avgPool2d, matmul, relu, scope, type Tensor, tensor } from "../../src/index.ts";
import { buffer } from "../init.ts";
import { Module } from "../module.ts";
import { normalised } from "./recognition.ts";
import type { FaceWeights, FrozenConv } from "./weights.ts";

/** The side of the pictures that the network takes. */
export const landmarksSize = 112;

/** A convolution; from the second block on a depthwise one and a 1x1 one. */
type Separable = readonly FrozenConv[];

/** The network of the landmarks. Its weights do not learn. */
export class FaceLandmarks extends Module {
  readonly blocks: readonly (readonly Separable[])[];
  readonly weight: Tensor;
  readonly bias: Tensor;

  constructor(weights: FaceWeights) {
    super();
    this.blocks = Array.from({ length: 4 }, (_, block) =>
      Array.from({ length: 4 }, (_, i) => {
        const name = `dense${block}/conv${i}`, stride = i === 0 ? 2 : 1;
        if (block === 0 && i === 0) {
          return [weights.conv(`${name}/filters`, `${name}/bias`, { stride, same: true })];
        }
        return [
          weights.conv(`${name}/depthwise_filter`, null, { stride, same: true, depthwise: true }),
          weights.conv(`${name}/pointwise_filter`, `${name}/bias`),
        ];
      }));
    this.weight = buffer(tensor(weights.values("fc/weights", [256, 136]).values, [256, 136]));
    this.bias = buffer(tensor(weights.list("fc/bias", 136), [136]));
  }

  /**
   * The places of the landmarks, x and y in turns, as fractions of the picture's side.
   * @param bytes [B, 112, 112, 3], from 0 to 255 @returns [B, 136]
   */
  call(bytes: Tensor): Tensor {
    return scope(() => {
      let at = normalised(bytes);
      for (const block of this.blocks) at = scope(() => dense(at, block));
      const features = avgPool2d(at, { size: 7, stride: 2 });
      return matmul(features.reshape(bytes.shape[0], -1), this.weight).add(this.bias);
    });
  }
}

/** Each convolution sees the sum of all outputs before it. */
function dense(x: Tensor, [first, ...rest]: readonly Separable[]): Tensor {
  const run = (x: Tensor, convs: Separable) => convs.reduce((at, conv) => conv.call(at), x);
  let sum = relu(run(x, first)), at = sum;
  for (const convs of rest) {
    sum = sum.add(run(at, convs));
    at = relu(sum);
  }
  return at;
}
