// The architecture of a VQGAN as the names and shapes of its tensors show it. A file may hold only one half of a model.
import type { DDConfig, VQModelConfig } from "./config.ts";

/** Shapes of tensors by taming's keys. */
export type Shapes = ReadonlyMap<string, { readonly shape: readonly number[] }>;

/** A half of the model. The encoder turns pictures into latents, and the decoder turns latents into pictures. */
export type Half = "encoder" | "decoder";

/** What shapes tell about a model. The resolution is not among it. */
export interface Architecture extends Pick<VQModelConfig, "embedDim" | "nEmbed" | "quantizer" | "remap"> {
  readonly ddconfig: Omit<DDConfig, "resolution">;
}

/** A limit for damaged files: 16 levels reduce a 32768-pixel picture to one token. */
const maxLevels = 16;

/** The half that is in the file, if the other one is missing; null for a whole model. */
export function onlyHalf(tensors: Shapes): Half | null {
  const [encodes, decodes] = [tensors.has("encoder.conv_in.weight"), tensors.has("decoder.conv_in.weight")];
  return encodes === decodes ? null : encodes ? "encoder" : "decoder";
}

/**
 * Reads the architecture from the shapes of tensors.
 * @param resolution the nominal size of pictures, by which a config names the levels that have attention
 * @throws Error naming the missing tensor if tensors of a VQGAN are missing, or saying how the halves differ
 */
export function architectureOf(tensors: Shapes, resolution: number): Architecture {
  const size = (key: string, axis: number): number => {
    const n = tensors.get(key)?.shape[axis];
    if (n === undefined) {
      throw new Error(`not a whole VQGAN: there is no tensor ${key} with ${axis + 1} dimensions`);
    }
    return n;
  };
  const only = onlyHalf(tensors);
  const halves = (["encoder", "decoder"] as const).filter((half) => only === null || only === half).map(
    (half) => ({ half, ...coderOf(tensors, half, size) }),
  );
  const [coder, other] = halves as [typeof halves[0], typeof halves[0] | undefined];
  const compared = {
    channels: "channels of levels",
    blocks: "blocks in a level",
    attends: "levels with attention",
    midAttention: "attention in the middle",
  } as const;
  for (const [field, name] of Object.entries(compared) as [keyof typeof compared, string][]) {
    if (!other || `${coder[field]}` === `${other[field]}`) continue;
    throw new Error(
      `its encoder and its decoder differ (${name}: ${coder[field]}, and ${other[field]}), ` +
        "but only a model whose halves mirror each other can be built",
    );
  }
  const { ch, channels, blocks, attends, midAttention } = coder;
  const zChannels = only === "encoder"
    ? size("encoder.conv_out.weight", 0)
    : size("decoder.conv_in.weight", 1);
  const quantizer = tensors.has("quantize.embed.weight") ? "gumbel" : "nearest";
  const codebook = quantizer === "gumbel" ? "quantize.embed.weight" : "quantize.embedding.weight";
  return {
    embedDim: size(codebook, 1),
    nEmbed: size(codebook, 0),
    quantizer,
    remap: tensors.get("quantize.used")?.shape[0] ?? null,
    ddconfig: {
      zChannels,
      inChannels: only === "decoder" ? 3 : size("encoder.conv_in.weight", 1),
      outCh: only === "encoder" ? 3 : size("decoder.conv_out.weight", 0),
      ch,
      chMult: channels.map((n) => n / ch),
      numResBlocks: blocks,
      attnResolutions: attends.map((attend, i) => attend ? resolution / 2 ** i : 0).filter((n) => n > 0),
      midAttention,
      dropout: 0, // no other value is supported
      doubleZ: only !== "decoder" && size("encoder.conv_out.weight", 0) === 2 * zChannels,
    },
  };
}

interface Coder {
  readonly ch: number;
  /** The number of channels of each level, full resolution first. */
  readonly channels: readonly number[];
  /** The number of residual blocks of each level of the encoder. */
  readonly blocks: number;
  readonly attends: readonly boolean[];
  readonly midAttention: boolean;
}

function coderOf(tensors: Shapes, half: Half, size: (key: string, axis: number) => number): Coder {
  const at = half === "encoder" ? "encoder.down" : "decoder.up";
  const count = (name: (i: number) => string): number => {
    let i = 0;
    while (i < maxLevels && tensors.has(name(i))) i++;
    return i;
  };
  const levels = Array.from({ length: count((i) => `${at}.${i}.block.0.conv1.weight`) }, (_, i) => i);
  const ch = half === "encoder" ? size("encoder.conv_in.weight", 0) : size("decoder.conv_out.weight", 1);
  size(`${at}.0.block.0.conv1.weight`, 0); // there must be a level
  return {
    ch,
    channels: levels.map((i) => size(`${at}.${i}.block.0.conv1.weight`, 0)),
    blocks: count((i) => `${at}.0.block.${i}.conv1.weight`) - (half === "encoder" ? 0 : 1),
    attends: levels.map((i) => tensors.has(`${at}.${i}.attn.0.norm.weight`)),
    midAttention: tensors.has(`${half}.mid.attn_1.norm.weight`),
  };
}
