// Finds faces: SSD (Liu et al. 2016) on the features of MobileNet v1 (Howard et al. 2017), as the npm package
// @vladmandic/face-api has it (MIT, after face-api.js). Each place of six maps predicts a score and a box.
import { clamp, concat, scope, sigmoid, type Tensor, tensor } from "../../src/index.ts";
import { buffer } from "../init.ts";
import { Module } from "../module.ts";
import { type FaceWeights, type FrozenConv, through } from "./weights.ts";

/** The side of the pictures that the network takes. */
export const detectorSize = 512;

/** The epsilon of its batch norms. */
const epsilon = 0.0010000000474974513;
/** The convolutions of MobileNet that halve the map; the first one does, too. */
const halving = [2, 4, 6, 12];
/** All anchors: three for each place of the first map, six for each of the others. */
const anchors = 5118;

const relu6 = (x: Tensor) => clamp(x, 0, 6);

/** A 1x1 convolution for the boxes and one for the scores. */
interface Predictor {
  readonly boxes: FrozenConv;
  readonly classes: FrozenConv;
}

/** The detector. Its weights do not learn. */
export class FaceDetector extends Module {
  readonly stem: FrozenConv;
  readonly pairs: readonly (readonly [depthwise: FrozenConv, pointwise: FrozenConv])[];
  readonly extra: readonly FrozenConv[];
  readonly predictors: readonly Predictor[];
  /** [top, left, bottom, right] of each anchor, as fractions of the picture's side. */
  readonly anchors: Tensor;

  constructor(weights: FaceWeights) {
    super();
    const pointwise = (name: string, stride: 1 | 2) =>
      weights.conv(`${name}_pointwise/weights`, `${name}_pointwise/convolution_bn_offset`, {
        stride,
        same: true,
      });
    const depthwise = (name: string, stride: 1 | 2) => {
      const filters = `${name}_depthwise/depthwise_weights`;
      const channels = weights.values(filters, [3, 3, null, 1]).shape[2];
      const [gamma, beta, mean, variance] = ["gamma", "beta", "moving_mean", "moving_variance"].map((part) =>
        weights.list(`${name}_depthwise/BatchNorm/${part}`, channels)
      );
      const factor = gamma.map((g, i) => g / Math.sqrt(variance[i] + epsilon));
      const shift = beta.map((b, i) => b - mean[i] * factor[i]);
      return weights.conv(filters, null, { stride, same: true, depthwise: true }, { factor, shift });
    };
    this.stem = pointwise("MobilenetV1/Conv2d_0", 2);
    this.pairs = Array.from({ length: 13 }, (_, i) => {
      const name = `MobilenetV1/Conv2d_${i + 1}`;
      return [depthwise(name, halving.includes(i + 1) ? 2 : 1), pointwise(name, 1)] as const;
    });
    this.extra = Array.from(
      { length: 8 },
      (_, i) => pointwise(`Prediction/Conv2d_${i}`, i % 2 === 0 ? 1 : 2),
    );
    this.predictors = Array.from({ length: 6 }, (_, i) => {
      const part = (name: string) =>
        weights.conv(
          `Prediction/BoxPredictor_${i}/${name}/weights`,
          `Prediction/BoxPredictor_${i}/${name}/biases`,
        );
      return { boxes: part("BoxEncodingPredictor"), classes: part("ClassPredictor") };
    });
    this.anchors = buffer(
      tensor(weights.values("Output/extra_dim", [1, anchors, 4]).values, [anchors, 4]),
    );
  }

  /**
   * The prediction at each anchor.
   * @param bytes [B, 512, 512, 3], from 0 to 255
   * @returns boxes [B, 5118, 4], by how much the anchors are to be moved, and scores [B, 5118] from 0 to 1
   */
  call(bytes: Tensor): { readonly boxes: Tensor; readonly scores: Tensor } {
    const batch = bytes.shape[0];
    return scope(() => {
      let at = scope(() => relu6(this.stem.call(bytes.div(127.5).sub(1))));
      const maps: Tensor[] = [];
      this.pairs.forEach((pair, i) => {
        at = through(at, pair, relu6);
        if (i === 10) maps.push(at); // the map of 32x32
      });
      maps.push(at);
      this.extra.forEach((layer, i) => {
        at = through(at, [layer], relu6);
        if (i % 2 === 1) maps.push(at);
      });
      const boxes = this.predictors.map((p, i) => p.boxes.call(maps[i]).reshape(batch, -1, 4));
      const classes = this.predictors.map((p, i) => p.classes.call(maps[i]).reshape(batch, -1, 3));
      const scores = sigmoid(concat(classes, 1).slice([0, 0, 1], [batch, anchors, 2]));
      return { boxes: concat(boxes, 1), scores: scores.reshape(batch, anchors) };
    });
  }
}
