// Turns an aligned face into 128 numbers, between which the distance of two pictures of one person is small: dlib's residual
// network (He et al. 2016; King 2017) as the npm package @vladmandic/face-api has it.
import { avgPool2d, concat, matmul, maxPool2d, relu, scope, type Tensor, tensor } from "../../src/index.ts";
import { filled } from "../../src/array.ts";
import { buffer } from "../init.ts";
import { Module } from "../module.ts";
import { beside } from "../resample.ts";
import type { FaceWeights, FrozenConv } from "./weights.ts";

/** The side of the pictures that the network takes. */
export const recognitionSize = 150;

/** The residual blocks, in order. Those named down halve the map. */
const names = [
  ...["conv32_1", "conv32_2", "conv32_3"],
  ...["conv64_down", "conv64_1", "conv64_2", "conv64_3"],
  ...["conv128_down", "conv128_1", "conv128_2"],
  ...["conv256_down", "conv256_1", "conv256_2", "conv256_down_out"],
];

/** The mean red, green and blue of the faces that the networks were trained with. */
const meanColor = [122.782, 117.001, 104.298];

/** (bytes - mean color) / 255. @param bytes [B, H, W, 3], from 0 to 255 */
export function normalised(bytes: Tensor): Tensor {
  return scope(() => bytes.sub(beside(bytes, meanColor, [3])).div(255));
}

interface Block {
  readonly conv1: FrozenConv;
  readonly conv2: FrozenConv;
  readonly down: boolean;
}

/** The network of the 128 numbers. Its weights do not learn; gradients flow through it to the picture. */
export class FaceRecognition extends Module {
  readonly stem: FrozenConv;
  readonly blocks: readonly Block[];
  readonly weight: Tensor;

  constructor(weights: FaceWeights) {
    super();
    const conv = (name: string, stride: 1 | 2, same: boolean) => {
      const channels = weights.values(`${name}/conv/filters`, [null, null, null, null]).shape[3];
      const factor = weights.list(`${name}/scale/weights`, channels);
      const shift = weights.list(`${name}/scale/biases`, channels);
      return weights.conv(`${name}/conv/filters`, `${name}/conv/bias`, { stride, same }, { factor, shift });
    };
    this.stem = conv("conv32_down", 2, false);
    this.blocks = names.map((name) => {
      const down = name.includes("down");
      return {
        conv1: conv(`${name}/conv1`, down ? 2 : 1, !down),
        conv2: conv(`${name}/conv2`, 1, true),
        down,
      };
    });
    this.weight = buffer(tensor(weights.values("fc", [256, 128]).values, [256, 128]));
  }

  /** The numbers of each face. @param bytes [B, 150, 150, 3], from 0 to 255 @returns [B, 128] */
  call(bytes: Tensor): Tensor {
    return scope(() => {
      let at = scope(() => maxPool2d(relu(this.stem.call(normalised(bytes))), { size: 3, stride: 2 }));
      for (const block of this.blocks) at = scope(() => residual(at, block));
      return matmul(at.mean([1, 2]), this.weight);
    });
  }
}

function residual(x: Tensor, { conv1, conv2, down }: Block): Tensor {
  const made = conv2.call(relu(conv1.call(x)));
  if (!down) return relu(made.add(x));
  const pooled = avgPool2d(x, { size: 2, stride: 2 });
  // The convolution without zeros around the map can be one row and one column smaller than the average, and has more channels.
  const [, height, width] = pooled.shape, channels = made.shape[3];
  return relu(padded(made, height, width, channels).add(padded(pooled, height, width, channels)));
}

/** x with zeros below, on the right and in further channels. */
function padded(x: Tensor, height: number, width: number, channels: number): Tensor {
  const target = [x.shape[0], height, width, channels];
  return [1, 2, 3].reduce((at, axis) => {
    const more = target[axis] - at.shape[axis];
    if (more === 0) return at;
    return concat([at, filled(at, at.shape.map((n, i) => (i === axis ? more : n)), 0)], axis);
  }, x);
}
