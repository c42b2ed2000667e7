// Writes Flax checkpoints, with the names and layouts that vqgan-jax and DALL-E mini expect. This is the reverse of
// read.ts.
import { sizeOf } from "../../../src/shape.ts";
import type { VQModelConfig } from "../config.ts";
import { toFlax } from "../families/vqgan_jax.ts";
import type { Sink } from "../sink.ts";
import { itemSize, type StoredValues } from "../stored_tensor.ts";
import { storedBytes, type TensorToWrite } from "../values.ts";
import { pack } from "./msgpack.ts";
import { arrayType, chunkedMark, flaxTypes } from "./read.ts";

/** A map of maps; its leaves are tensors. */
type Tree = Map<string, Tree | TensorToWrite>;

/**
 * Writes an autoencoder's weights in Flax's format.
 *
 * @param tensors the tensors under taming's keys; Flax has no place for those of the loss
 * @param maxChunk the size in bytes above which an array is cut into pieces, as Flax does
 * @throws if values do not match shape and type.
 */
export async function writeFlaxTo(
  sink: Sink,
  tensors: Iterable<TensorToWrite>,
  maxChunk = 2 ** 30,
): Promise<void> {
  const root: Tree = new Map();
  for (const tensor of tensors) place(root, tensor);
  const write = async (tree: Tree): Promise<void> => {
    await sink.write(Uint8Array.from(pack.map(tree.size)));
    for (const [name, item] of [...tree].sort(([a], [b]) => a < b ? -1 : 1)) {
      await sink.write(Uint8Array.from(pack.text(name)));
      if (item instanceof Map) await write(item);
      else for await (const bytes of arrayBytes(item, maxChunk)) await sink.write(bytes);
    }
  };
  await write(root);
}

function place(root: Tree, tensor: TensorToWrite): void {
  const path = toFlax(tensor.name, tensor.shape);
  const leaf = path.pop()!;
  let tree = root;
  for (const name of path) {
    let below = tree.get(name);
    if (below === undefined) tree.set(name, below = new Map());
    if (!(below instanceof Map)) throw new Error(`Flax: ${tensor.name} is inside another tensor`);
    tree = below;
  }
  if (tree.has(leaf)) throw new Error(`Flax: two tensors are named ${tensor.name}`);
  tree.set(leaf, tensor);
}

async function* arrayBytes(tensor: TensorToWrite, maxChunk: number): AsyncGenerator<Uint8Array> {
  const { name, dtype } = tensor;
  const isKernel = toFlax(name, tensor.shape).at(-1) === "kernel";
  const shape = isKernel ? [...tensor.shape.slice(2), tensor.shape[1]!, tensor.shape[0]!] : tensor.shape;
  const values = await tensor.data();
  const stored = { name, dtype, shape };
  const chunks = [
    ...chunksOf(isKernel ? transposed(values, tensor.shape) : values, maxChunk / itemSize[dtype]),
  ];
  if (chunks.length > 1) {
    yield Uint8Array.from([
      ...pack.map(3),
      ...[...pack.text(chunkedMark), ...pack.true, ...pack.text("shape"), ...pack.map(shape.length)],
      ...shape.flatMap((n, i) => [...pack.text(`${i}`), ...pack.uint(n)]),
      ...[...pack.text("chunks"), ...pack.map(chunks.length)],
    ]);
  }
  for (const [i, chunk] of chunks.entries()) {
    if (chunks.length > 1) yield Uint8Array.from(pack.text(`${i}`));
    const part = chunks.length > 1 ? { ...stored, shape: [chunk.length] } : stored;
    const byteLength = sizeOf(part.shape) * itemSize[dtype];
    const inner = [
      ...[...pack.array(3), ...pack.array(part.shape.length), ...part.shape.flatMap(pack.uint)],
      ...[...pack.text(flaxTypes[dtype]), ...pack.bin(byteLength)],
    ];
    yield Uint8Array.from([...pack.ext(arrayType, inner.length + byteLength), ...inner]);
    yield* storedBytes(part, chunk);
  }
}

function* chunksOf(values: StoredValues, length: number): Generator<StoredValues> {
  if (values.length === 0) yield values;
  for (let at = 0; at < values.length; at += length) yield values.subarray(at, at + length);
}

/** Transposes [out, in, ...space] to [...space, in, out], row-major. */
function transposed(values: StoredValues, [out = 0, into = 0, ...space]: readonly number[]): StoredValues {
  const target = values.slice();
  const pixels = sizeOf(space);
  let at = 0;
  for (let p = 0; p < pixels; p++) {
    for (let i = 0; i < into; i++) {
      for (let o = 0; o < out; o++) target[at++] = values[(o * into + i) * pixels + p]!;
    }
  }
  return target;
}

/** The part of the config that a Flax model's config.json contains. */
export type FlaxConfig = Pick<VQModelConfig, "embedDim" | "nEmbed" | "ddconfig">;

/**
 * Returns the text of the config.json that belongs next to the weights, in the style of transformers: two spaces,
 * sorted keys.
 * @param assumed the fields of the config that nothing states
 */
export function flaxConfigJson(
  { embedDim, nEmbed, ddconfig }: FlaxConfig,
  assumed: readonly string[] = [],
): string {
  const settings = {
    attn_resolutions: ddconfig.attnResolutions,
    ch: ddconfig.ch,
    ch_mult: ddconfig.chMult,
    double_z: ddconfig.doubleZ,
    dropout: 0,
    embed_dim: embedDim,
    give_pre_end: false,
    in_channels: ddconfig.inChannels,
    n_embed: nEmbed,
    num_res_blocks: ddconfig.numResBlocks,
    num_resolutions: ddconfig.chMult.length,
    out_ch: ddconfig.outCh,
    resamp_with_conv: true,
    // the same number is vqgan-jax's default, by which it reads attn_resolutions
    ...(assumed.includes("ddconfig.resolution") ? {} : { resolution: ddconfig.resolution }),
    z_channels: ddconfig.zChannels,
  };
  return JSON.stringify(settings, null, 2) + "\n";
}
