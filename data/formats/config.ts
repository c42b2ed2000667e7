// The architecture of a VQGAN, under taming's names (section "model.params" of its yaml files) in camelCase. A
// checkpoint says what it is, or guess.ts guesses it from the shapes of the tensors. nn/ builds the model from it.
import {
  check,
  checkNames,
  finite,
  flag,
  isWhole,
  notNegative,
  object,
  oneOf,
  orNull,
  type Rule,
  rule,
  type Rules,
  shown,
} from "../../src/check.ts";

/** The name of the file in which transformers and diffusers keep the architecture, beside the weights. */
export const configName = "config.json";

/** The architecture of the encoder and the decoder. */
export interface DDConfig {
  /** Channels between the encoder and `quant_conv`. */
  readonly zChannels: number;
  /**
   * The nominal picture size. It decides which levels have attention; any size that is a multiple of the factor works.
   */
  readonly resolution: number;
  /** The colour channels of the input: 3. */
  readonly inChannels: number;
  /** The colour channels of the output: 3. */
  readonly outCh: number;
  /** The number of channels at full resolution, a multiple of 32. `chMult` multiplies it level by level. */
  readonly ch: number;
  /** One factor for each level; each level after the first halves the resolution. */
  readonly chMult: readonly number[];
  /** The number of residual blocks per level in the encoder; the decoder has one more. */
  readonly numResBlocks: number;
  /** The resolutions whose levels have attention. */
  readonly attnResolutions: readonly number[];
  /** Whether the lowest level has attention between its two blocks, as in taming. */
  readonly midAttention: boolean;
  /** The dropout rate; only 0 is supported. */
  readonly dropout: number;
  /** Whether the encoder outputs a mean and a variance, as in KL autoencoders; only false is supported. */
  readonly doubleZ: boolean;
}

/** The settings of the losses, which training needs in addition to the autoencoder. */
export interface LossConfig {
  /** The first step at which the discriminator contributes to the generator's loss. */
  readonly discStart: number;
  /** The weight of the GAN's loss, which is multiplied by the adaptive weight. */
  readonly discWeight: number;
  /** The number of the discriminator's layers that have batch norm. */
  readonly discNumLayers: number;
  /** The number of channels of its first layer. */
  readonly discNdf: number;
  /** The factor of both losses of the GAN from step `discStart` on. */
  readonly discFactor: number;
  /** The weight of the quantizer's loss. */
  readonly codebookWeight: number;
  /** The weight of the perceptual loss. With 0 the perceptual network is left out. */
  readonly perceptualWeight: number;
  /** How the discriminator's logits are turned into a loss. */
  readonly discLoss: "hinge" | "vanilla";
  /** The classifier inside LPIPS. */
  readonly perceptualNet: "vgg" | "squeeze";
}

/**
 * The order in which a level applies its attention blocks. `taming`: attention i follows block i. `vqgan-jax-legacy`:
 * all attention blocks follow every block. This was a bug of vqgan-jax until July 2022, and DALL-E mini's tokens were
 * made with it.
 */
export type AttentionOrder = "taming" | "vqgan-jax-legacy";

/** An option of a quantizer, as JSON holds it. */
export type QuantizerOption = number | string | boolean | readonly number[];

/** The architecture and the loss settings of a model. */
export interface VQModelConfig {
  /** The number of values in a code. */
  readonly embedDim: number;
  /** The number of codes in the codebook. Tokens are 0 to nEmbed - 1. */
  readonly nEmbed: number;
  /** The architecture of the encoder and the decoder. */
  readonly ddconfig: DDConfig;
  /** The settings of the losses. */
  readonly lossconfig: LossConfig;
  /**
   * How vectors become tokens: the name of a quantizer. `nearest`: the nearest code, as in taming's VQModel. `normalized`: the
   * same after vectors and codes were scaled to length 1, as in LlamaGen. `gumbel`: the code with the highest logit, as in
   * taming's GumbelVQ, which cannot be trained here. Others can be registered (`registerQuantizer`).
   */
  readonly quantizer: string;
  /** The options of a quantizer that is not taming's, by name. Those here have none: {}. */
  readonly quantizerOptions: Readonly<Record<string, QuantizerOption>>;
  /**
   * taming's remap: how many codes have a token. Which they are, in the order of their tokens, is in the checkpoint, under
   * `quantize.used`. null: all codes, and tokens are their numbers.
   */
  readonly remap: number | null;
  /** The weight between the two terms of the quantizer's loss. `legacyBeta` says which of them it scales. */
  readonly beta: number;
  /** true: beta scales the codebook term, as in all published models. false: the commitment term, as in the paper. */
  readonly legacyBeta: boolean;
  /** The order in which a level applies its attention blocks. */
  readonly attentionOrder: AttentionOrder;
}

/** Changes to a config. Every field may be left out. */
export interface VQModelOverrides extends Partial<Omit<VQModelConfig, "ddconfig" | "lossconfig">> {
  /** Changes to the encoder and the decoder. */
  readonly ddconfig?: Partial<DDConfig>;
  /** Changes to the losses. */
  readonly lossconfig?: Partial<LossConfig>;
}

const f16: VQModelConfig = {
  embedDim: 256,
  nEmbed: 16384,
  ddconfig: {
    zChannels: 256,
    resolution: 256,
    inChannels: 3,
    outCh: 3,
    ch: 128,
    chMult: [1, 1, 2, 2, 4],
    numResBlocks: 2,
    attnResolutions: [16],
    midAttention: true,
    dropout: 0,
    doubleZ: false,
  },
  lossconfig: {
    discStart: 0,
    discWeight: 0.75,
    discNumLayers: 2,
    discNdf: 64,
    discFactor: 1,
    codebookWeight: 1,
    perceptualWeight: 1,
    discLoss: "hinge",
    perceptualNet: "vgg",
  },
  quantizer: "nearest",
  quantizerOptions: {},
  remap: null,
  beta: 0.25,
  legacyBeta: true,
  attentionOrder: "taming",
};

/** The names of the predefined configs. */
export type PresetName = "f16-16384" | "faces";

/**
 * Returns a named config with changes. `f16-16384` is the published model; `faces` is the small one that comes with
 * Tessera and trains on a CPU.
 *
 * @example The small model with fewer codes
 * ```ts
 * import { preset } from "@tessera/vqgan/core";
 *
 * const config = preset("faces", { nEmbed: 256, lossconfig: { discStart: 2000 } });
 * ```
 * @throws if the result is not a valid config.
 */
export function preset(name: PresetName, overrides: VQModelOverrides = {}): VQModelConfig {
  switch (name) {
    case "f16-16384":
      return withOverrides(f16, overrides);
    case "faces":
      return withOverrides(withOverrides(f16, faces), overrides);
    default:
      throw new Error(`preset: there is no ${shown(name)}, use f16-16384 or faces`);
  }
}

/**
 * An f8 model for pictures of 128x128, which become 256 tokens. It has 64 channels at full resolution, because group
 * norm always has 32 groups: with 32 channels, each channel would be normalised alone. The discriminator sees patches
 * of 34 pixels.
 */
const faces: VQModelOverrides = {
  embedDim: 16,
  nEmbed: 2048,
  ddconfig: {
    zChannels: 64,
    resolution: 128,
    ch: 64,
    chMult: [1, 1, 1, 2],
    numResBlocks: 1,
    attnResolutions: [16],
  },
  lossconfig: { discStart: 4000, discWeight: 0.4, discNdf: 32, discNumLayers: 2, perceptualNet: "squeeze" },
  legacyBeta: false,
};

/** Returns a config with changes. @throws if a name is misspelt, or the changed config is invalid */
export function withOverrides(config: VQModelConfig, overrides: VQModelOverrides): VQModelConfig {
  checkNames("config", overrides, f16);
  checkNames("config: ddconfig", overrides.ddconfig ?? {}, f16.ddconfig);
  checkNames("config: lossconfig", overrides.lossconfig ?? {}, f16.lossconfig);
  const changed = {
    ...config,
    ...overrides,
    ddconfig: { ...config.ddconfig, ...overrides.ddconfig },
    lossconfig: { ...config.lossconfig, ...overrides.lossconfig },
  };
  checkConfig(changed);
  return changed;
}

/** Returns the number of pixels per token along each side: 2^(levels - 1). */
export function factorOf(config: VQModelConfig): number {
  return 2 ** (config.ddconfig.chMult.length - 1);
}

/** A whole number from 1 to `most`. The limits are far above any model; they stop a damaged config from filling memory. */
const upTo = (most: number): Rule =>
  rule(`a whole number from 1 to ${most}`, (n) => isWhole(n) && n >= 1 && n <= most);

/** A list of at most 16 numbers: 16 levels reduce 32768 pixels to one token. */
const levels = rule("a list of 1 to 16 numbers", (list) => {
  return Array.isArray(list) && list.length >= 1 && list.length <= 16 && list.every(Number.isFinite);
});

const ddRules: Rules<DDConfig> = {
  zChannels: upTo(2 ** 16),
  resolution: upTo(2 ** 16),
  inChannels: upTo(2 ** 16),
  outCh: upTo(2 ** 16),
  ch: upTo(2 ** 13),
  chMult: levels,
  numResBlocks: upTo(64),
  attnResolutions: rule("a list of at most 64 numbers", (list) => {
    return Array.isArray(list) && list.length <= 64 && list.every(Number.isFinite);
  }),
  midAttention: flag,
  dropout: finite,
  doubleZ: flag,
};

const lossRules: Rules<LossConfig> = {
  discStart: notNegative,
  discWeight: notNegative,
  discNumLayers: upTo(16),
  discNdf: upTo(2 ** 12),
  discFactor: notNegative,
  codebookWeight: notNegative,
  perceptualWeight: notNegative,
  discLoss: oneOf("hinge", "vanilla"),
  perceptualNet: oneOf("vgg", "squeeze"),
};

const modelRules: Rules<VQModelConfig> = {
  embedDim: upTo(2 ** 16),
  nEmbed: upTo(2 ** 24),
  ddconfig: object,
  lossconfig: object,
  quantizer: rule(
    "the name of a quantizer",
    (name) => typeof name === "string" && /^[a-z][a-z0-9_-]{0,39}$/.test(name),
  ),
  quantizerOptions: object,
  remap: orNull(upTo(2 ** 24)),
  beta: notNegative,
  legacyBeta: flag,
  attentionOrder: oneOf("taming", "vqgan-jax-legacy"),
};

function checkFields<T extends object>(path: string, fields: T, rules: Rules<T>): void {
  for (const [name, rule] of Object.entries<Rule>(rules)) {
    check("config", path + name, (fields as Record<string, unknown>)[name], rule);
  }
}

/** The most channels of a level. */
const maxChannels = 2 ** 15;

/** @throws with the offending value if no model can be built from `config`. */
export function checkConfig(config: VQModelConfig): void {
  check("config", "the config", config, object);
  checkFields("", config, modelRules);
  checkFields("ddconfig.", config.ddconfig, ddRules);
  checkFields("lossconfig.", config.lossconfig, lossRules);
  const { ddconfig } = config;
  const { ch, chMult, inChannels, outCh } = ddconfig;
  if (ch % 32 !== 0) {
    throw new Error(`config: ddconfig.ch is ${ch}; group norm needs a multiple of 32`);
  }
  for (const [i, multiple] of chMult.entries()) {
    const channels = ch * multiple;
    if (channels >= 32 && channels % 32 === 0 && channels <= maxChannels) continue;
    throw new Error(
      `config: ddconfig.chMult[${i}] is ${multiple}, so level ${i} has ${channels} channels; ` +
        `group norm needs a multiple of 32, up to ${maxChannels}`,
    );
  }
  if (inChannels !== 3 || outCh !== 3) {
    throw new Error(`config: pictures have 3 channels, not ${inChannels} in and ${outCh} out`);
  }
  if (ddconfig.dropout !== 0) {
    throw new Error(
      `config: ddconfig.dropout is ${ddconfig.dropout}; only 0 is supported, as in the published models`,
    );
  }
  if (ddconfig.doubleZ) {
    throw new Error("config: ddconfig.doubleZ is for KL autoencoders; a VQGAN needs false");
  }
}
