// diffusers' VQModel: taming's network under other names. The projections of attention are matrices and not 1x1
// convolutions, and before diffusers 0.12 they were called query, key, value and proj_attn.
import type { VQModelConfig } from "../config.ts";
import type { StoredTensor } from "../stored_tensor.ts";
import {
  coderLandmarks,
  countBelow,
  type Family,
  fromOtherEnd,
  fromTaming,
  type NamePairs,
  toTaming,
} from "./family.ts";

const names: NamePairs = [
  ["mid_block.resnets.0", "mid.block_1"],
  ["mid_block.resnets.1", "mid.block_2"],
  ["mid_block.attentions.0", "mid.attn_1"],
  ["down_blocks", "down"],
  ["up_blocks", "up"],
  ["resnets", "block"],
  ["attentions", "attn"],
  ["downsamplers.0", "downsample"],
  ["upsamplers.0", "upsample"],
  ["conv_norm_out", "norm_out"],
  ["conv_shortcut", "nin_shortcut"],
  ["group_norm", "norm"],
  ["to_q", "q"],
  ["to_k", "k"],
  ["to_v", "v"],
  ["to_out.0", "proj_out"],
];
const oldNames: NamePairs = [["query", "q"], ["key", "k"], ["value", "v"], ["proj_attn", "proj_out"]];

/** The weights of attention under taming's keys. */
const isProjection = (key: string) => /\.(q|k|v|proj_out)\.weight$/.test(key);

export const diffusers: Family = {
  name: "diffusers' VQModel",
  landmarks: coderLandmarks,
  isOne: (keys) =>
    (keys.has("encoder.down_blocks.0.resnets.0.conv1.weight") ||
      keys.has("decoder.up_blocks.0.resnets.0.conv1.weight")) &&
    keys.has("quantize.embedding.weight"),
  read(tensors) {
    const levels = countBelow(tensors.keys(), "decoder.up_blocks.");
    return new Map([...tensors].map(([key, t]) => {
      const name = fromOtherEnd(toTaming(key, [...names, ...oldNames]), levels);
      const isMatrix = isProjection(name) && t.shape.length === 2;
      return [name, isMatrix ? reshaped(t, [...t.shape, 1, 1]) : t];
    }));
  },
};

/** The same values under another shape of the same size. */
function reshaped(tensor: StoredTensor, shape: readonly number[]): StoredTensor {
  const { stride, dtype, byteLength } = tensor;
  return {
    shape,
    stride: [...stride, ...shape.slice(stride.length).map(() => 1)],
    dtype,
    byteLength,
    read: () => tensor.read(),
    readFloats: (sink) => tensor.readFloats(sink),
  };
}

/** The key and the shape that diffusers gives to a tensor of taming's. @param levels the number of levels of the decoder */
export function inDiffusers(
  key: string,
  shape: readonly number[],
  levels: number,
): { name: string; shape: readonly number[] } {
  return {
    name: fromTaming(fromOtherEnd(key, levels), names),
    shape: isProjection(key) ? shape.slice(0, 2) : shape,
  };
}

/** The name under which diffusers looks for weights in a folder. */
export const diffusersWeights = "diffusion_pytorch_model.safetensors";

/**
 * Returns the text of the config.json that belongs next to the weights.
 * @param assumed the fields of the config that nothing states
 */
export function diffusersConfigJson(config: VQModelConfig, assumed: readonly string[] = []): string {
  const { embedDim, nEmbed, ddconfig } = config;
  const { ch, chMult, resolution, attnResolutions } = ddconfig;
  const attends = chMult.map((_, i) => attnResolutions.includes(resolution / 2 ** i));
  const settings = {
    _class_name: "VQModel",
    _diffusers_version: "0.32.2", // the first with all of these settings is 0.27
    act_fn: "silu",
    block_out_channels: chMult.map((multiple) => ch * multiple),
    down_block_types: attends.map((attend) => attend ? "AttnDownEncoderBlock2D" : "DownEncoderBlock2D"),
    in_channels: ddconfig.inChannels,
    latent_channels: ddconfig.zChannels,
    layers_per_block: ddconfig.numResBlocks,
    mid_block_add_attention: ddconfig.midAttention,
    norm_num_groups: 32,
    norm_type: "group",
    num_vq_embeddings: nEmbed,
    out_channels: ddconfig.outCh,
    ...(assumed.includes("ddconfig.resolution") ? {} : { sample_size: resolution }),
    up_block_types: attends.toReversed().map((attend) =>
      attend ? "AttnUpDecoderBlock2D" : "UpDecoderBlock2D"
    ),
    vq_embed_dim: embedDim,
  };
  return JSON.stringify(settings, null, 2) + "\n";
}

/** Returns what in a model's config.json this network cannot do; null if there is nothing. */
export function problemInConfig(settings: Readonly<Record<string, unknown>>): string | null {
  const { norm_num_groups: groups = 32, act_fn: activation = "silu" } = settings;
  if (groups !== 32) return `its config.json says norm_num_groups ${groups}; only 32 is supported`;
  if (activation === "silu" || activation === "swish") return null;
  return `its config.json says act_fn ${activation}; only silu is supported`;
}
