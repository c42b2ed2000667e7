// What the layers of encoder and decoder make of a picture: feature maps of every level, and where attention looks.
import {
  asyncScope,
  captureOutputs,
  noGrad,
  type Picture,
  tensor,
  toFloats,
  type VQGAN,
} from "../../core.ts";
import type { Engine } from "./engine.ts";

/** The feature maps of a layer. */
export interface LayerMaps {
  /** The layer's path in the model, such as encoder.down.0.block.0. */
  readonly path: string;
  readonly width: number;
  readonly height: number;
  /** How many channels it has. */
  readonly channels: number;
  /** The mean of the absolute values at each pixel, row by row, from 0 to 255. */
  readonly strength: Uint8Array;
  /** The channels that differ most from pixel to pixel, most first: bytes from the least to the greatest value of each. */
  readonly shown: readonly { readonly channel: number; readonly values: Uint8Array }[];
}

/** Where the attention of a block looks. */
export interface AttentionMap {
  readonly path: string;
  readonly width: number;
  readonly height: number;
  /** Row t says how much pixel t takes from each pixel: (width height)^2 numbers, each row adds up to 1. */
  readonly weights: Float32Array;
}

/** Each layer shows this many channels. */
const channelsShown = 12;

/** The last layer of each level at the level's own size, in the order in which they run. */
function layerPaths({ encoder, decoder }: VQGAN): string[] {
  const lastBlock = (half: string, level: number, blocks: number) => `${half}.${level}.block.${blocks - 1}`;
  return [
    "encoder.conv_in",
    ...encoder.down.map(({ block }, level) => lastBlock("encoder.down", level, block.length)),
    "encoder.mid",
    "quant_conv",
    "post_quant_conv",
    "decoder.mid",
    ...decoder.up.map(({ block }, level) => lastBlock("decoder.up", level, block.length)).reverse(),
    "decoder.conv_out",
  ];
}

/** @param request a picture in the model's size */
export async function layers(
  { model }: Engine,
  { picture }: { readonly picture: Picture },
): Promise<{ readonly layers: LayerMaps[]; readonly attention: AttentionMap[] }> {
  const paths = layerPaths(model);
  const attending = [...model.namedModules().keys()].filter((path) =>
    /\.attn(_1|\.\d+)\.weights$/.test(path)
  );
  const { width, height, pixels } = picture;
  return await asyncScope(async () => {
    const images = tensor(toFloats(pixels, model.range), [1, height, width, 3]);
    const { outputs } = captureOutputs(
      model,
      [...paths, ...attending],
      () => noGrad(() => model.reconstruct(images)),
    );
    const maps: LayerMaps[] = [], attention: AttentionMap[] = [];
    for (const path of paths) {
      const output = outputs.get(path)!, [, rows, columns, channels] = output.shape;
      maps.push(mapsOf(path, await output.floats(), rows, columns, channels));
    }
    for (const path of attending) {
      const weights = outputs.get(path)!, block = path.replace(/\.weights$/, "");
      const share = Math.sqrt(weights.shape[1] / (width * height));
      attention.push({
        path: block,
        width: Math.round(width * share),
        height: Math.round(height * share),
        weights: await weights.floats(),
      });
    }
    return { layers: maps, attention };
  });
}

function mapsOf(
  path: string,
  values: Float32Array,
  height: number,
  width: number,
  channels: number,
): LayerMaps {
  const pixels = width * height, strengths = new Float32Array(pixels);
  const sums = new Float64Array(channels), squares = new Float64Array(channels);
  for (let i = 0; i < values.length; i++) {
    const value = values[i], channel = i % channels;
    strengths[Math.floor(i / channels)] += Math.abs(value);
    sums[channel] += value;
    squares[channel] += value * value;
  }
  const variance = (channel: number) => squares[channel] / pixels - (sums[channel] / pixels) ** 2;
  const order = Array.from({ length: channels }, (_, channel) => channel).sort((a, b) =>
    variance(b) - variance(a)
  );
  return {
    path,
    width,
    height,
    channels,
    strength: toBytes(strengths),
    shown: order.slice(0, channelsShown).map((channel) => ({
      channel,
      values: toBytes(
        Float32Array.from({ length: pixels }, (_, pixel) => values[pixel * channels + channel]),
      ),
    })),
  };
}

/** From the least value, 0, to the greatest, 255. */
function toBytes(values: Float32Array): Uint8Array {
  let least = Infinity, most = -Infinity;
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
  }
  const scale = 255 / (most - least || 1);
  return Uint8Array.from(values, (value) => Math.round((value - least) * scale));
}
