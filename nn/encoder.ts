// The encoder turns images [B, H, W, 3] into latents [B, H/f, W/f, zChannels] with f = 2^(levels - 1) (Esser et al. 2021).
// Latents are vectors of numbers that describe f x f pixels each; the quantizer then replaces each by a code.
import type { Tensor } from "../src/index.ts";
import { Downsample, Level, type LevelSpec, Middle } from "./blocks.ts";
import type { AttentionOrder, DDConfig } from "../data/formats/config.ts";
import type { Init } from "./init.ts";
import { Conv2d, GroupNorm } from "./layers.ts";
import { chain, Layer } from "./module.ts";
import type { Parts } from "../src/parts.ts";

class DownLevel extends Level {
  readonly downsample: Downsample | null;

  constructor(spec: LevelSpec, init: Init) {
    super(spec, init);
    this.downsample = spec.last ? null : new Downsample(spec.channels, init);
  }

  protected override resample(): Layer | null {
    return this.downsample;
  }
}

/**
 * Which levels have attention depends on the config's `resolution`, which each level halves: a level has it if its
 * resolution is in `attnResolutions`. The real size of the pictures does not matter.
 */
export class Encoder extends Layer {
  /** A 3x3 convolution from RGB to the channels of the first level. */
  readonly conv_in: Conv2d;
  /**
   * The levels, full resolution first.
   * @internal
   */
  readonly down: DownLevel[] = [];
  /**
   * The lowest level, with attention unless the config says otherwise.
   * @internal
   */
  readonly mid: Middle;
  /** Normalisation and swish before `conv_out`. */
  readonly norm_out: GroupNorm;
  /** A 3x3 convolution to `zChannels`. */
  readonly conv_out: Conv2d;

  /** A network for this config. @param init random numbers for the initial weights; null leaves zeros */
  constructor(config: DDConfig, order: AttentionOrder, init: Init) {
    super();
    const { ch, chMult, numResBlocks, attnResolutions, resolution, inChannels, zChannels } = config;
    this.conv_in = new Conv2d(inChannels, ch, 3, init, { padding: 1 });
    let channels = ch;
    chMult.forEach((multiple, level) => {
      const spec = {
        inChannels: channels,
        channels: ch * multiple,
        blocks: numResBlocks,
        attend: attnResolutions.includes(resolution / 2 ** level),
        order,
        last: level === chMult.length - 1,
      };
      this.down.push(new DownLevel(spec, init));
      channels = spec.channels;
    });
    this.mid = new Middle(channels, config.midAttention, init);
    this.norm_out = new GroupNorm(channels, { swish: true });
    this.conv_out = new Conv2d(channels, zChannels, 3, init, { padding: 1 });
  }

  /** Images to latents. */
  protected override forward(x: Tensor): Parts<Tensor> {
    return chain(x, [
      this.conv_in,
      ...this.down.flatMap((level) => level.layers()),
      this.mid,
      this.norm_out,
      this.conv_out,
    ]);
  }
}
