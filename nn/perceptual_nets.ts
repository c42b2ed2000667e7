// The frozen picture classifiers whose activations LPIPS compares: VGG16, SqueezeNet 1.1 and AlexNet, cut into slices that
// end at a tap. Layers keep torchvision's numbers, so `features.N` of its files is `sliceK.N` here.
import { concat, relu, scope, type Tensor } from "../src/index.ts";
import { Conv2d, MaxPool2d, ReLU, Sequential } from "./layers.ts";
import type { Parts } from "../src/parts.ts";
import { chain, Layer, Module } from "./module.ts";

/** A network that returns its activations at several layers, its taps. */
export abstract class TappedNet extends Module {
  /** Channels at each tap. */
  abstract readonly channels: readonly number[];

  /** The activations of each tap, finest first. @param images [B, H, W, 3] */
  call(images: Tensor): Tensor[] {
    return scope(() => {
      const taps: Tensor[] = [];
      for (const slice of this.slices()) taps.push(slice.call(taps.at(-1) ?? images));
      return taps;
    });
  }

  protected slices(): Sequential[] {
    return Object.values(this).filter((value): value is Sequential => value instanceof Sequential);
  }
}

const conv = (
  from: number,
  to: number,
): Layer[] => [new Conv2d(from, to, 3, null, { padding: 1 }), new ReLU()];

/** VGG16, with taps after relu1_2, relu2_2, relu3_3, relu4_3 and relu5_3, and 2x2 pooling between the slices. */
export class VGG16 extends TappedNet {
  override readonly channels: readonly number[] = [64, 128, 256, 512, 512];
  readonly slice1 = new Sequential([...conv(3, 64), ...conv(64, 64)]);
  readonly slice2 = new Sequential([new MaxPool2d(2, 2), ...conv(64, 128), ...conv(128, 128)], 4);
  readonly slice3 = new Sequential([
    new MaxPool2d(2, 2),
    ...conv(128, 256),
    ...conv(256, 256),
    ...conv(256, 256),
  ], 9);
  readonly slice4 = new Sequential([
    new MaxPool2d(2, 2),
    ...conv(256, 512),
    ...conv(512, 512),
    ...conv(512, 512),
  ], 16);
  readonly slice5 = new Sequential([
    new MaxPool2d(2, 2),
    ...conv(512, 512),
    ...conv(512, 512),
    ...conv(512, 512),
  ], 23);
}

/** SqueezeNet's module: a 1x1 convolution to few channels, then 1x1 and 3x3 convolutions in parallel, each with a ReLU. */
class Fire extends Layer {
  readonly squeeze: Conv2d;
  readonly expand1x1: Conv2d;
  readonly expand3x3: Conv2d;

  constructor(channels: number, squeezed: number, expanded: number) {
    super();
    this.squeeze = new Conv2d(channels, squeezed, 1, null);
    this.expand1x1 = new Conv2d(squeezed, expanded, 1, null);
    this.expand3x3 = new Conv2d(squeezed, expanded, 3, null, { padding: 1 });
  }

  protected override *forward(x: Tensor): Parts<Tensor> {
    const s = yield* chain(x, [this.squeeze, new ReLU()]);
    return relu(concat([yield* this.expand1x1.parts(s), yield* this.expand3x3.parts(s)], 3));
  }
}

const pool = () => new MaxPool2d(3, 2, true);

/** SqueezeNet 1.1, with taps after the first ReLU and after fire modules 2, 4, 5, 6, 7 and 8. Pooling rounds sizes up. */
export class SqueezeNet extends TappedNet {
  override readonly channels: readonly number[] = [64, 128, 256, 384, 384, 512, 512];
  readonly slice1 = new Sequential([new Conv2d(3, 64, 3, null, { stride: 2 }), new ReLU()]);
  readonly slice2 = new Sequential([pool(), new Fire(64, 16, 64), new Fire(128, 16, 64)], 2);
  readonly slice3 = new Sequential([pool(), new Fire(128, 32, 128), new Fire(256, 32, 128)], 5);
  readonly slice4 = new Sequential([pool(), new Fire(256, 48, 192)], 8);
  readonly slice5 = new Sequential([new Fire(384, 48, 192)], 10);
  readonly slice6 = new Sequential([new Fire(384, 64, 256)], 11);
  readonly slice7 = new Sequential([new Fire(512, 64, 256)], 12);
}

/** AlexNet, with taps after each ReLU. Windows of pooling overlap. */
export class AlexNet extends TappedNet {
  override readonly channels: readonly number[] = [64, 192, 384, 256, 256];
  readonly slice1 = new Sequential([new Conv2d(3, 64, 11, null, { stride: 4, padding: 2 }), new ReLU()]);
  readonly slice2 = new Sequential([
    new MaxPool2d(3, 2),
    new Conv2d(64, 192, 5, null, { padding: 2 }),
    new ReLU(),
  ], 2);
  readonly slice3 = new Sequential([new MaxPool2d(3, 2), ...conv(192, 384)], 5);
  readonly slice4 = new Sequential(conv(384, 256), 8);
  readonly slice5 = new Sequential(conv(256, 256), 10);
}
