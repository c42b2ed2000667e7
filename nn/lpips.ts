// LPIPS v0.1, learned perceptual distance (Zhang et al. 2018): at each tap of a frozen network, activations normalised
// over channels, sum_c w_c (a_c - b_c)^2, averaged over pixels; the sum over taps.
import { check, oneOf } from "../src/check.ts";
import { greater, keep, lpipsDistance, type Random, scope, type Tensor, tensor } from "../src/index.ts";
import { checkFloats } from "../src/operands.ts";
import { Conv2d } from "./layers.ts";
import { Module } from "./module.ts";
import { SqueezeNet, type TappedNet, VGG16 } from "./perceptual_nets.ts";

/** ImageNet's mean and standard deviation, expressed for pixels in [-1, 1]. */
class ScalingLayer extends Module {
  readonly shift: Tensor = keep(tensor([-0.03, -0.088, -0.188], [1, 3, 1, 1]));
  readonly scale: Tensor = keep(tensor([0.458, 0.448, 0.45], [1, 3, 1, 1]));

  protected override bufferNames(): readonly string[] {
    return ["shift", "scale"];
  }

  call(images: Tensor): Tensor {
    return scope(() => images.sub(this.shift.reshape(3)).div(this.scale.reshape(3)));
  }
}

/** A weight per channel, under the key `model.1.weight` (in torch's files 0 is a dropout). */
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

/** How `LPIPS` compares activations. */
export interface DistanceOptions {
  /** Drops half of the squared differences at random, as taming does by accident while training. Off by default. */
  readonly dropout?: Random | null;
}

/**
 * The distance of pictures, 0 for equal ones. Its weights are frozen, and must be loaded before use (fill.ts).
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
   * The weights of each tap's channels.
   * @internal
   */
  [head: `lin${number}`]: Head;
  /**
   * Brings pixels to the mean and deviation that the classifier was trained with.
   * @internal
   */
  readonly scaling_layer: ScalingLayer = new ScalingLayer();
  /**
   * The classifier.
   * @internal
   */
  readonly net: TappedNet;
  /** Whether weights were loaded. A network of zeros would find all pictures equal. */
  ready = false;

  /** A network without weights; `loadPerceptual` gives it some. @param net the classifier: VGG16 or SqueezeNet 1.1 */
  constructor(net: "vgg" | "squeeze") {
    super();
    check("LPIPS", "the network", net, oneOf("vgg", "squeeze"));
    this.net = net === "vgg" ? new VGG16() : new SqueezeNet();
    this.net.channels.forEach((channels, i) => this[`lin${i}`] = new Head(channels));
    this.setRequiresGrad(false);
  }

  /**
   * Activations at each tap. images: [B, H, W, 3] in [-1, 1].
   * @throws if no weights were loaded.
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

  /** Distance at each tap, [B] each, from activations that `features` gave. */
  distancePerTap(a: readonly Tensor[], b: readonly Tensor[], options: DistanceOptions = {}): Tensor[] {
    const random = options.dropout ?? null, taps = this.net.channels.length;
    if (a.length !== taps || b.length !== taps) {
      throw new Error(
        `LPIPS: got the activations of ${a.length} and ${b.length} taps, expected those of ${taps}, as features() gives them`,
      );
    }
    return this.net.channels.map((_, i) =>
      scope(() => {
        const { weight } = this[`lin${i}`];
        return random ? droppedDistance(a[i], b[i], weight, random) : lpipsDistance(a[i], b[i], weight);
      })
    );
  }

  /** Distance of each pair, [B], from activations that `features` gave. */
  distance(a: readonly Tensor[], b: readonly Tensor[], options: DistanceOptions = {}): Tensor {
    return scope(() => this.distancePerTap(a, b, options).reduce((sum, d) => sum.add(d)));
  }

  /** Distance of each pair of pictures, [B]. */
  call(a: Tensor, b: Tensor): Tensor {
    return scope(() => this.distance(this.features(a), this.features(b)));
  }
}

function droppedDistance(a: Tensor, b: Tensor, weight: Tensor, random: Random): Tensor {
  // the clamp keeps the gradient finite where a pixel's activations are all 0
  const unit = (x: Tensor) => {
    const f = x.cast("f32"); // squares would overflow f16
    return f.div(f.square().sum([3], true).clamp(1e-20, Infinity).sqrt());
  };
  return dropHalf(unit(a).sub(unit(b)).square(), random).mul(weight).sum([3]).mean([1, 2]);
}

/** Sets each element to 0 with probability 1/2 and doubles the others, so that the mean stays. */
export function dropHalf(x: Tensor, random: Random): Tensor {
  return x.mul(greater(random.uniform(x.shape), 0.5).mul(2));
}
