// The four blocks of the encoder and the decoder: the residual block, the attention block, and the two blocks that change
// the resolution. Names, shapes and padding are those of taming-transformers, so that its weights fit.
import type { AttentionOrder } from "../data/formats/config.ts";
import { matmul, softmax, type Tensor } from "../src/index.ts";
import { attentionParts } from "../src/ops/attention.ts";
import { normConvStrips, takesStrips } from "../src/ops/strips.ts";
import type { Parts } from "../src/parts.ts";
import type { Init } from "./init.ts";
import { Conv2d, GroupNorm } from "./layers.ts";
import { chain, isObserved, Layer } from "./module.ts";

/** out = shortcut(x) + conv2(swish(norm2(conv1(swish(norm1(x)))))). The kernel of conv2 adds the shortcut. */
export class ResnetBlock extends Layer {
  readonly norm1: GroupNorm;
  readonly conv1: Conv2d;
  readonly norm2: GroupNorm;
  readonly conv2: Conv2d;
  /** The shortcut if the number of channels changes: a 1x1 convolution of x. Otherwise null, and the shortcut is x. */
  readonly nin_shortcut: Conv2d | null;

  constructor(inChannels: number, outChannels: number, init: Init) {
    super();
    this.norm1 = new GroupNorm(inChannels, { swish: true });
    this.conv1 = new Conv2d(inChannels, outChannels, 3, init, { padding: 1 });
    this.norm2 = new GroupNorm(outChannels, { swish: true });
    this.conv2 = new Conv2d(outChannels, outChannels, 3, init, { padding: 1 });
    this.nin_shortcut = inChannels === outChannels ? null : new Conv2d(inChannels, outChannels, 1, init);
  }

  protected override *forward(x: Tensor): Parts<Tensor> {
    const { norm1, conv1, norm2, conv2 } = this;
    if (takesStrips(x) && !isObserved(norm1, conv1, norm2, conv2)) return yield* this.#inStrips(x);
    const h = yield* chain(x, [norm1, conv1, norm2]);
    return yield* conv2.parts(h, this.nin_shortcut ? yield* this.nin_shortcut.parts(x) : x);
  }

  /** The same numbers in less memory, for large pictures (ops/strips.ts): conv2 writes its output over its own input. */
  *#inStrips(x: Tensor): Parts<Tensor> {
    const h = yield* normConvStrips(x, this.norm1, this.conv1);
    const residual = this.nin_shortcut ? yield* this.nin_shortcut.parts(x) : x;
    return yield* normConvStrips(h, this.norm2, this.conv2, { residual, overwrite: true });
  }
}

/**
 * The attention weights softmax(q k^T / sqrt(C)), [B, T, T]: row t says how much pixel t takes from each pixel. This runs
 * only if they are to be captured (capture.ts); `attention` does not need to hold all of them at a time.
 */
class AttentionWeights extends Layer {
  protected override forward(q: Tensor, k: Tensor): Tensor {
    const scores = matmul(q.cast("f32"), k.cast("f32"), { transposeB: true });
    return softmax(scores, q.shape[2] ** -0.5);
  }
}

/**
 * Single-head attention: out = x + proj_out(softmax(q k^T / sqrt(C)) v), where q, k and v are 1x1 convolutions of norm(x).
 * Every pixel takes information from all pixels, in proportion to how well its q fits their k.
 */
export class AttnBlock extends Layer {
  readonly norm: GroupNorm;
  readonly q: Conv2d;
  readonly k: Conv2d;
  readonly v: Conv2d;
  readonly proj_out: Conv2d;
  readonly weights = new AttentionWeights();

  constructor(channels: number, init: Init) {
    super();
    this.norm = new GroupNorm(channels);
    this.q = new Conv2d(channels, channels, 1, init);
    this.k = new Conv2d(channels, channels, 1, init);
    this.v = new Conv2d(channels, channels, 1, init);
    this.proj_out = new Conv2d(channels, channels, 1, init);
  }

  protected override *forward(x: Tensor): Parts<Tensor> {
    const [batch, height, width, channels] = x.shape;
    const n = yield* this.norm.parts(x);
    const made: Tensor[] = [];
    for (const projection of [this.q, this.k, this.v]) {
      made.push((yield* projection.parts(n)).reshape(batch, height * width, channels));
    }
    const [q, k, v] = made;
    if (isObserved(this.weights)) this.weights.call(q, k);
    const mixed = yield* attentionParts(q, k, v);
    return yield* this.proj_out.parts(mixed.reshape(batch, height, width, channels), x);
  }
}

/** Halves height and width: a 3x3 convolution of stride 2, with zeros only below and on the right, as in taming. */
export class Downsample extends Layer {
  readonly conv: Conv2d;

  constructor(channels: number, init: Init) {
    super();
    this.conv = new Conv2d(channels, channels, 3, init, { stride: 2, padding: [0, 1, 0, 1] });
  }

  protected override forward(x: Tensor): Parts<Tensor> {
    return this.conv.parts(x);
  }
}

/** Doubles height and width: nearest neighbour, then a 3x3 convolution. The enlarged image is never stored. */
export class Upsample extends Layer {
  readonly conv: Conv2d;

  constructor(channels: number, init: Init) {
    super();
    this.conv = new Conv2d(channels, channels, 3, init, { upsample: 2, padding: 1 });
  }

  protected override forward(x: Tensor): Parts<Tensor> {
    return this.conv.parts(x);
  }
}

/** The blocks at the lowest resolution: block_1, attn_1, block_2. Some neighbours of taming have no attention there. */
export class Middle extends Layer {
  readonly block_1: ResnetBlock;
  readonly attn_1: AttnBlock | null;
  readonly block_2: ResnetBlock;

  constructor(channels: number, attend: boolean, init: Init) {
    super();
    this.block_1 = new ResnetBlock(channels, channels, init);
    this.attn_1 = attend ? new AttnBlock(channels, init) : null;
    this.block_2 = new ResnetBlock(channels, channels, init);
  }

  protected override forward(x: Tensor): Parts<Tensor> {
    return chain(x, this.attn_1 ? [this.block_1, this.attn_1, this.block_2] : [this.block_1, this.block_2]);
  }
}

export interface LevelSpec {
  readonly inChannels: number;
  readonly channels: number;
  readonly blocks: number;
  /** Whether each block is followed by attention. */
  readonly attend: boolean;
  readonly order: AttentionOrder;
  /** Whether this level runs last, so that no change of resolution follows. */
  readonly last: boolean;
}

/** The residual blocks of one resolution, each followed by attention if the level has it, and then the change of resolution. */
export abstract class Level extends Layer {
  readonly block: ResnetBlock[] = [];
  readonly attn: AttnBlock[] = [];
  readonly #order: AttentionOrder;

  constructor({ inChannels, channels, blocks, attend, order }: LevelSpec, init: Init) {
    super();
    this.#order = order;
    for (let i = 0; i < blocks; i++) {
      this.block.push(new ResnetBlock(i === 0 ? inChannels : channels, channels, init));
      if (attend) this.attn.push(new AttnBlock(channels, init));
    }
  }

  /** The change of resolution; null in the last level. */
  protected abstract resample(): Layer | null;

  /**
   * The layers in the order in which they run. A network chains the layers of all its levels, so that each input is freed
   * early. In the order "vqgan-jax-legacy" all attention blocks of the level follow each residual block.
   */
  layers(): Layer[] {
    const layers = this.block.flatMap((block, i): Layer[] => [
      block,
      ...(this.#order === "taming" ? this.attn.slice(i, i + 1) : this.attn),
    ]);
    const resample = this.resample();
    return resample ? [...layers, resample] : layers;
  }

  override get outputLayer(): Layer {
    return this.layers().at(-1)!;
  }

  protected override forward(x: Tensor): Parts<Tensor> {
    return chain(x, this.layers());
  }
}
