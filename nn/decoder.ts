// Decoder: latents [B, h, w, zChannels] to images [B, f h, f w, 3]. No tanh or clamp at the end.
import type { Tensor } from "../src/index.ts";
import { Level, type LevelSpec, Middle, Upsample } from "./blocks.ts";
import type { AttentionOrder, DDConfig } from "../data/formats/config.ts";
import type { Init } from "./init.ts";
import { Conv2d, GroupNorm } from "./layers.ts";
import { chain, Layer } from "./module.ts";
import type { Parts } from "../src/parts.ts";

class UpLevel extends Level {
  readonly upsample: Upsample | null;

  constructor(spec: LevelSpec, init: Init) {
    super(spec, init);
    this.upsample = spec.last ? null : new Upsample(spec.channels, init);
  }

  protected override resample(): Layer | null {
    return this.upsample;
  }
}

/**
 * Each level has one block more than in the encoder. `up[0]` is the full resolution. It runs last and is made last, so that
 * random numbers are drawn in the order in which the levels run.
 */
export class Decoder extends Layer {
  /** A 3x3 convolution from `zChannels` to the channels of the lowest level. */
  readonly conv_in: Conv2d;
  /**
   * The lowest level, with attention unless the config says otherwise.
   * @internal
   */
  readonly mid: Middle;
  /**
   * The levels. The first one is the full resolution, which runs last.
   * @internal
   */
  readonly up: UpLevel[] = [];
  /** Normalisation and swish before `conv_out`. */
  readonly norm_out: GroupNorm;
  /** A 3x3 convolution to RGB. The adaptive weight of the losses is measured at its weight. */
  readonly conv_out: Conv2d;

  /** A network for this config. @param init random numbers for the initial weights; null leaves zeros */
  constructor(config: DDConfig, order: AttentionOrder, init: Init) {
    super();
    const { ch, chMult, numResBlocks, attnResolutions, resolution, outCh, zChannels } = config;
    let channels = ch * chMult[chMult.length - 1];
    this.conv_in = new Conv2d(zChannels, channels, 3, init, { padding: 1 });
    this.mid = new Middle(channels, config.midAttention, init);
    for (let level = chMult.length - 1; level >= 0; level--) {
      const spec = {
        inChannels: channels,
        channels: ch * chMult[level],
        blocks: numResBlocks + 1,
        attend: attnResolutions.includes(resolution / 2 ** level),
        order,
        last: level === 0,
      };
      this.up.unshift(new UpLevel(spec, init));
      channels = spec.channels;
    }
    this.norm_out = new GroupNorm(channels, { swish: true });
    this.conv_out = new Conv2d(channels, outCh, 3, init, { padding: 1 });
  }

  /** Latents to images. */
  protected override forward(z: Tensor): Parts<Tensor> {
    return chain(z, [
      this.conv_in,
      this.mid,
      ...this.up.toReversed().flatMap((level) => level.layers()),
      this.norm_out,
      this.conv_out,
    ]);
  }
}
