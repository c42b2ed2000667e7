// Inception v3 with the weights that the FID is computed with (Heusel et al. 2017): the network of 2015-12-05 as pytorch-fid
// loads it from pt_inception-2015-12-05-6726825d.pth. Names are torchvision's. It differs from torchvision's Inception where
// the average of a window leaves out the zeros around the picture, and in the last block, which takes the largest value
// instead.
import { avgPool2d, concat, maxPool2d, scope, type Tensor } from "../../src/index.ts";
import { filled } from "../../src/array.ts";
import { checkFloats } from "../../src/operands.ts";
import { chain, type Layer, Module } from "../module.ts";
import { finish } from "../../src/parts.ts";
import { bilinear } from "../resample.ts";
import { ConvNorm } from "./conv_norm.ts";

/** The side of the pictures that the network takes. */
const side = 299;

/** Branches whose channels are joined. */
abstract class Block extends Module {
  abstract call(x: Tensor): Tensor;
}

const run = (x: Tensor, ...layers: Layer[]) => finish(chain(x, layers));

/** The averages of 3x3 windows, which leave out what is beyond the picture. */
const average = (x: Tensor) => avgPool2d(x, { size: 3, stride: 1, padding: 1, countPadding: false });
const halved = (x: Tensor) => maxPool2d(x, { size: 3, stride: 2 });

/** The largest values of 3x3 windows around each pixel. Zeros may surround the picture, because no value is below 0. */
function largest(x: Tensor): Tensor {
  const pad = (x: Tensor, axis: number) => {
    const zeros = filled(x, x.shape.map((n, i) => (i === axis ? 1 : n)), 0);
    return concat([zeros, x, zeros], axis);
  };
  return maxPool2d(pad(pad(x, 1), 2), { size: 3, stride: 1 });
}

class BlockA extends Block {
  readonly branch1x1: ConvNorm;
  readonly branch5x5_1: ConvNorm;
  readonly branch5x5_2: ConvNorm = new ConvNorm(48, 64, [5, 5], { padding: [2, 2] });
  readonly branch3x3dbl_1: ConvNorm;
  readonly branch3x3dbl_2: ConvNorm = new ConvNorm(64, 96, [3, 3], { padding: [1, 1] });
  readonly branch3x3dbl_3: ConvNorm = new ConvNorm(96, 96, [3, 3], { padding: [1, 1] });
  readonly branch_pool: ConvNorm;

  constructor(channels: number, pooled: number) {
    super();
    this.branch1x1 = new ConvNorm(channels, 64, [1, 1]);
    this.branch5x5_1 = new ConvNorm(channels, 48, [1, 1]);
    this.branch3x3dbl_1 = new ConvNorm(channels, 64, [1, 1]);
    this.branch_pool = new ConvNorm(channels, pooled, [1, 1]);
  }

  call(x: Tensor): Tensor {
    return scope(() =>
      concat([
        run(x, this.branch1x1),
        run(x, this.branch5x5_1, this.branch5x5_2),
        run(x, this.branch3x3dbl_1, this.branch3x3dbl_2, this.branch3x3dbl_3),
        run(average(x), this.branch_pool),
      ], 3)
    );
  }
}

class BlockB extends Block {
  readonly branch3x3: ConvNorm = new ConvNorm(288, 384, [3, 3], { stride: 2 });
  readonly branch3x3dbl_1: ConvNorm = new ConvNorm(288, 64, [1, 1]);
  readonly branch3x3dbl_2: ConvNorm = new ConvNorm(64, 96, [3, 3], { padding: [1, 1] });
  readonly branch3x3dbl_3: ConvNorm = new ConvNorm(96, 96, [3, 3], { stride: 2 });

  call(x: Tensor): Tensor {
    return scope(() =>
      concat([
        run(x, this.branch3x3),
        run(x, this.branch3x3dbl_1, this.branch3x3dbl_2, this.branch3x3dbl_3),
        halved(x),
      ], 3)
    );
  }
}

/** A row of seven pixels, and a column. */
const across = (from: number, to: number) => new ConvNorm(from, to, [1, 7], { padding: [0, 3] });
const down = (from: number, to: number) => new ConvNorm(from, to, [7, 1], { padding: [3, 0] });

class BlockC extends Block {
  readonly branch1x1: ConvNorm = new ConvNorm(768, 192, [1, 1]);
  readonly branch7x7_1: ConvNorm;
  readonly branch7x7_2: ConvNorm;
  readonly branch7x7_3: ConvNorm;
  readonly branch7x7dbl_1: ConvNorm;
  readonly branch7x7dbl_2: ConvNorm;
  readonly branch7x7dbl_3: ConvNorm;
  readonly branch7x7dbl_4: ConvNorm;
  readonly branch7x7dbl_5: ConvNorm;
  readonly branch_pool: ConvNorm = new ConvNorm(768, 192, [1, 1]);

  constructor(c: number) {
    super();
    this.branch7x7_1 = new ConvNorm(768, c, [1, 1]);
    this.branch7x7_2 = across(c, c);
    this.branch7x7_3 = down(c, 192);
    this.branch7x7dbl_1 = new ConvNorm(768, c, [1, 1]);
    this.branch7x7dbl_2 = down(c, c);
    this.branch7x7dbl_3 = across(c, c);
    this.branch7x7dbl_4 = down(c, c);
    this.branch7x7dbl_5 = across(c, 192);
  }

  call(x: Tensor): Tensor {
    return scope(() => {
      const double = [this.branch7x7dbl_1, this.branch7x7dbl_2, this.branch7x7dbl_3, this.branch7x7dbl_4];
      return concat([
        run(x, this.branch1x1),
        run(x, this.branch7x7_1, this.branch7x7_2, this.branch7x7_3),
        run(x, ...double, this.branch7x7dbl_5),
        run(average(x), this.branch_pool),
      ], 3);
    });
  }
}

class BlockD extends Block {
  readonly branch3x3_1: ConvNorm = new ConvNorm(768, 192, [1, 1]);
  readonly branch3x3_2: ConvNorm = new ConvNorm(192, 320, [3, 3], { stride: 2 });
  readonly branch7x7x3_1: ConvNorm = new ConvNorm(768, 192, [1, 1]);
  readonly branch7x7x3_2: ConvNorm = across(192, 192);
  readonly branch7x7x3_3: ConvNorm = down(192, 192);
  readonly branch7x7x3_4: ConvNorm = new ConvNorm(192, 192, [3, 3], { stride: 2 });

  call(x: Tensor): Tensor {
    return scope(() =>
      concat([
        run(x, this.branch3x3_1, this.branch3x3_2),
        run(x, this.branch7x7x3_1, this.branch7x7x3_2, this.branch7x7x3_3, this.branch7x7x3_4),
        halved(x),
      ], 3)
    );
  }
}

class BlockE extends Block {
  readonly branch1x1: ConvNorm;
  readonly branch3x3_1: ConvNorm;
  readonly branch3x3_2a: ConvNorm = new ConvNorm(384, 384, [1, 3], { padding: [0, 1] });
  readonly branch3x3_2b: ConvNorm = new ConvNorm(384, 384, [3, 1], { padding: [1, 0] });
  readonly branch3x3dbl_1: ConvNorm;
  readonly branch3x3dbl_2: ConvNorm = new ConvNorm(448, 384, [3, 3], { padding: [1, 1] });
  readonly branch3x3dbl_3a: ConvNorm = new ConvNorm(384, 384, [1, 3], { padding: [0, 1] });
  readonly branch3x3dbl_3b: ConvNorm = new ConvNorm(384, 384, [3, 1], { padding: [1, 0] });
  readonly branch_pool: ConvNorm;
  readonly #pool: (x: Tensor) => Tensor;

  constructor(channels: number, pool: (x: Tensor) => Tensor) {
    super();
    this.branch1x1 = new ConvNorm(channels, 320, [1, 1]);
    this.branch3x3_1 = new ConvNorm(channels, 384, [1, 1]);
    this.branch3x3dbl_1 = new ConvNorm(channels, 448, [1, 1]);
    this.branch_pool = new ConvNorm(channels, 192, [1, 1]);
    this.#pool = pool;
  }

  call(x: Tensor): Tensor {
    return scope(() => {
      const single = run(x, this.branch3x3_1), double = run(x, this.branch3x3dbl_1, this.branch3x3dbl_2);
      return concat([
        run(x, this.branch1x1),
        run(single, this.branch3x3_2a),
        run(single, this.branch3x3_2b),
        run(double, this.branch3x3dbl_3a),
        run(double, this.branch3x3dbl_3b),
        run(this.#pool(x), this.branch_pool),
      ], 3);
    });
  }
}

/** The network up to its 2,048 averaged features. `loadInception` fills it. */
export class Inception extends Module {
  /** @internal */
  readonly Conv2d_1a_3x3: ConvNorm = new ConvNorm(3, 32, [3, 3], { stride: 2 });
  /** @internal */
  readonly Conv2d_2a_3x3: ConvNorm = new ConvNorm(32, 32, [3, 3]);
  /** @internal */
  readonly Conv2d_2b_3x3: ConvNorm = new ConvNorm(32, 64, [3, 3], { padding: [1, 1] });
  /** @internal */
  readonly Conv2d_3b_1x1: ConvNorm = new ConvNorm(64, 80, [1, 1]);
  /** @internal */
  readonly Conv2d_4a_3x3: ConvNorm = new ConvNorm(80, 192, [3, 3]);
  /** @internal */
  readonly Mixed_5b: Block = new BlockA(192, 32);
  /** @internal */
  readonly Mixed_5c: Block = new BlockA(256, 64);
  /** @internal */
  readonly Mixed_5d: Block = new BlockA(288, 64);
  /** @internal */
  readonly Mixed_6a: Block = new BlockB();
  /** @internal */
  readonly Mixed_6b: Block = new BlockC(128);
  /** @internal */
  readonly Mixed_6c: Block = new BlockC(160);
  /** @internal */
  readonly Mixed_6d: Block = new BlockC(160);
  /** @internal */
  readonly Mixed_6e: Block = new BlockC(192);
  /** @internal */
  readonly Mixed_7a: Block = new BlockD();
  /** @internal */
  readonly Mixed_7b: Block = new BlockE(1280, average);
  /** @internal */
  readonly Mixed_7c: Block = new BlockE(2048, largest);

  /** A network of zeros on the current device, for `loadInception` to fill. */
  constructor() {
    super();
    this.setRequiresGrad(false);
  }

  /**
   * The averaged features. Pictures are resized to 299x299 as torch's `interpolate` does it: bilinearly, without antialiasing.
   * @param images [B, H, W, 3] in [-1, 1] @returns [B, 2048]
   */
  call(images: Tensor): Tensor {
    checkFloats("Inception", images);
    return scope(() => {
      let at = run(bilinear(images, side), this.Conv2d_1a_3x3, this.Conv2d_2a_3x3, this.Conv2d_2b_3x3);
      at = run(halved(at), this.Conv2d_3b_1x1, this.Conv2d_4a_3x3);
      at = halved(at);
      for (const block of Object.values(this)) {
        if (!(block instanceof Block)) continue;
        const next = block.call(at);
        at.dispose();
        at = next;
      }
      return at.mean([1, 2]);
    });
  }
}
