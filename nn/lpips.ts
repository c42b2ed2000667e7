// LPIPS v0.1, a learned perceptual distance of two pictures (Zhang et al. 2018). Both go through a frozen classifier, whose
// activations a and b are compared at several layers, its taps: activations are normalised over channels, and the distance
// is sum_c w_c (a_c - b_c)^2, averaged over pixels and summed over taps.
import { check, oneOf } from "../src/check.ts";
import { greater, lpipsDistance, lpipsMap, type Random, scope, type Tensor, tensor } from "../src/index.ts";
import { checkFloats } from "../src/operands.ts";
import { buffer } from "./init.ts";
import { Conv2d } from "./layers.ts";
import { Module } from "./module.ts";
import { AlexNet, SqueezeNet, type TappedNet, VGG16 } from "./perceptual_nets.ts";
import { bilinear } from "./resample.ts";

/** Normalises pixels in [-1, 1] by the mean and standard deviation of ImageNet. */
class ScalingLayer extends Module {
  readonly shift: Tensor = buffer(tensor([-0.03, -0.088, -0.188], [1, 3, 1, 1]));
  readonly scale: Tensor = buffer(tensor([0.458, 0.448, 0.45], [1, 3, 1, 1]));

  protected override bufferNames(): readonly string[] {
    return ["shift", "scale"];
  }

  call(images: Tensor): Tensor {
    return scope(() => images.sub(this.shift.reshape(3)).div(this.scale.reshape(3)));
  }
}

/** A weight for each channel, under the key `model.1.weight` (`model.0` is a dropout in torch). */
class Head extends Module {
  readonly model: { readonly 1: Conv2d };

  constructor(channels: number) {
    super();
    this.model = { 1: new Conv2d(channels, 1, 1, null, { bias: false }) };
  }

  get weight(): Tensor {
    return this.model[1].weight.reshape(-1);
  }
}

/** The classifier inside LPIPS: VGG16, SqueezeNet 1.1 or AlexNet. Models train with the first two; papers measure with the third. */
export type PerceptualNet = "vgg" | "squeeze" | "alex";

const networks: Readonly<Record<PerceptualNet, new () => TappedNet>> = {
  vgg: VGG16,
  squeeze: SqueezeNet,
  alex: AlexNet,
};

/** How `LPIPS` compares activations. */
export interface DistanceOptions {
  /** Sets half of the squared differences to 0 at random, as taming does in training by accident. Off by default. */
  readonly dropout?: Random | null;
}

/**
 * The distance of pictures; it is 0 for equal pictures. Its weights are frozen, and must be loaded before use (fill.ts).
 *
 * @example A loss between reconstructions and images
 * ```ts
 * import { type LPIPS, noGrad, type Tensor } from "@tessera/vqgan/core";
 *
 * function loss(lpips: LPIPS, reconstruction: Tensor, images: Tensor): Tensor {
 *   const real = noGrad(() => lpips.features(images)); // once for all comparisons with the same images
 *   return lpips.distance(lpips.features(reconstruction), real).mean();
 * }
 * ```
 */
export class LPIPS extends Module {
  /**
   * The weights of the channels of each tap.
   * @internal
   */
  [head: `lin${number}`]: Head;
  /**
   * Normalises pixels as the classifier was trained with.
   * @internal
   */
  readonly scaling_layer: ScalingLayer = new ScalingLayer();
  /**
   * The classifier.
   * @internal
   */
  readonly net: TappedNet;
  /** Which classifier it is. */
  readonly kind: PerceptualNet;
  /** Whether weights were loaded. With weights of zero, all distances would be 0. */
  ready = false;

  /** A network without weights; `loadPerceptual` loads them. @param kind the classifier */
  constructor(kind: PerceptualNet) {
    super();
    check("LPIPS", "the network", kind, oneOf("vgg", "squeeze", "alex"));
    this.kind = kind;
    this.net = new networks[kind]();
    this.net.channels.forEach((channels, i) => this[`lin${i}`] = new Head(channels));
    this.setRequiresGrad(false);
  }

  /**
   * The activations at each tap. @param images [B, H, W, 3] in [-1, 1]
   * @throws if no weights were loaded
   */
  features(images: Tensor): Tensor[] {
    checkFloats("LPIPS", images);
    if (images.ndim !== 4 || images.shape[3] !== 3) {
      throw new Error(`LPIPS: images have shape [${images.shape}], expected [batch, height, width, 3]`);
    }
    if (!this.ready) {
      throw new Error(
        "LPIPS: no weights are loaded: load a checkpoint that contains them, call loadPerceptual(), or build the model " +
          "without LPIPS, with config: { lossconfig: { perceptualWeight: 0 } }",
      );
    }
    return scope(() => this.net.call(this.scaling_layer.call(images)));
  }

  /** The distance at each tap, [B] each, from activations that `features` returned. */
  distancePerTap(a: readonly Tensor[], b: readonly Tensor[], options: DistanceOptions = {}): Tensor[] {
    const random = options.dropout ?? null, taps = this.net.channels.length;
    if (a.length !== taps || b.length !== taps) {
      throw new Error(
        `LPIPS: got the activations of ${a.length} and ${b.length} taps, expected those of ${taps}, as features() returns them`,
      );
    }
    return this.net.channels.map((_, i) =>
      scope(() => {
        const { weight } = this[`lin${i}`];
        return random ? droppedDistance(a[i], b[i], weight, random) : lpipsDistance(a[i], b[i], weight);
      })
    );
  }

  /** The distance of each pair, [B], from activations that `features` returned. */
  distance(a: readonly Tensor[], b: readonly Tensor[], options: DistanceOptions = {}): Tensor {
    return scope(() => this.distancePerTap(a, b, options).reduce((sum, d) => sum.add(d)));
  }

  /** The distance of each pair of pictures, [B]. */
  call(a: Tensor, b: Tensor): Tensor {
    return scope(() => this.distance(this.features(a), this.features(b)));
  }

  /**
   * Where two pictures differ, [B, H, W]: the distance at the pixels of each tap, enlarged bilinearly to the size of the
   * pictures and summed over taps, as in the package lpips with `spatial=True`. The mean of a tap's map is its distance if its
   * sides divide those of the picture; otherwise it is about that.
   *
   * @param a [B, H, W, 3] in [-1, 1] @param b pictures of the same shape
   * @example A picture of what a reconstruction has lost
   * ```ts
   * import { type LPIPS, type Tensor } from "@tessera/vqgan/core";
   *
   * async function lost(lpips: LPIPS, images: Tensor, reconstruction: Tensor): Promise<Float32Array> {
   *   const map = lpips.map(images, reconstruction);
   *   return await map.floats(); // row by row
   * }
   * ```
   * @throws if no weights were loaded, or the shapes differ
   */
  map(a: Tensor, b: Tensor): Tensor {
    return scope(() => {
      const [left, right] = [this.features(a), this.features(b)], [count, height, width] = a.shape;
      const maps = left.map((features, i) => {
        const map = lpipsMap(features, right[i], this[`lin${i}`].weight), [, rows, columns] = map.shape;
        return bilinear(map.reshape(count, rows, columns, 1), height, width);
      });
      return maps.reduce((sum, map) => sum.add(map)).reshape(count, height, width);
    });
  }
}

function droppedDistance(a: Tensor, b: Tensor, weight: Tensor, random: Random): Tensor {
  // the clamp keeps the gradient finite for a pixel whose activations are all 0
  const unit = (x: Tensor) => {
    const f = x.cast("f32"); // because squares would overflow f16
    return f.div(f.square().sum([3], true).clamp(1e-20, Infinity).sqrt());
  };
  return dropHalf(unit(a).sub(unit(b)).square(), random).mul(weight).sum([3]).mean([1, 2]);
}

/** Sets each element to 0 with probability 1/2 and doubles the others, so that the mean stays the same. */
export function dropHalf(x: Tensor, random: Random): Tensor {
  return x.mul(greater(random.uniform(x.shape), 0.5).mul(2));
}
