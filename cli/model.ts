// What reconstruct, encode and decode share: opening the model, reading pictures, and naming results.
import { basename, extname, join } from "node:path";
import { Option } from "commander";
import type { AttentionOrder } from "../data/formats/config.ts";
import { resolutionField } from "../data/formats/guess.ts";
import {
  ImageError,
  type Picture,
  type PixelRange,
  readAhead,
  type ReadOptions,
  type Resize,
  type Sample,
  toFloats,
} from "../data/index.ts";
import { type Half, loadVQGAN, type Precision, type VQGAN } from "../nn/index.ts";
import { type Tensor, tensor } from "../src/index.ts";
import { fetched, namesHelp } from "./fetch.ts";
import { count, precisionOption, resizeOption, wholeNumber } from "./options.ts";
import { printAside } from "./print.ts";
import { shippedModel } from "./shipped.ts";

export interface ModelFlags {
  readonly model?: string;
  readonly range: PixelRange;
  readonly precision: Precision;
  readonly attentionOrder?: AttentionOrder;
  /** Sets the range to `unit`. */
  readonly dalleMini?: boolean;
}

export interface PictureFlags {
  readonly size?: number;
  readonly keepShape?: boolean;
  readonly resize: Resize;
}

export function modelOptions(): Option[] {
  return [
    new Option(
      "-m, --model <file>",
      `checkpoint: .ckpt, .pt, .safetensors, or a folder of Flax or diffusers; ${namesHelp} (default: the small faces model)`,
    ),
    new Option(
      "--range <kind>",
      "range of pixel values that the model expects: signed [-1, 1], or unit [0, 1] (DALL-E mini)",
    )
      .choices(["signed", "unit"]).default("signed"),
    new Option(
      "--attention-order <kind>",
      "order of the attention blocks (default: as in the file, else taming); vqgan-jax-legacy for tokens made by vqgan-jax before July 2022",
    ).choices(["taming", "vqgan-jax-legacy"]),
    precisionOption(),
  ];
}

export function pictureOptions(): Option[] {
  return [
    new Option(
      "--size <pixels>",
      "resize the shorter side to this and crop the middle square; 0 keeps the size (default: the model's)",
    )
      .argParser(wholeNumber(0)),
    new Option("--keep-shape", "crop only to whole tokens, not to a square"),
    resizeOption(),
  ];
}

/**
 * Loads the model, or the half of it that a command needs.
 * @throws if the file is missing, or holds no model or not the half that is needed
 */
export async function openModel(
  flags: ModelFlags & Partial<PictureFlags>,
  needed: Half | "both",
): Promise<{ model: VQGAN; path: string }> {
  const { model: chosen, dalleMini, precision, attentionOrder } = flags,
    range = dalleMini ? "unit" : flags.range;
  const path = chosen === undefined ? await shippedModel() : await fetched(chosen);
  if (chosen === undefined) {
    printAside("model: the small one that comes with Tessera (--model FILE for another)");
  }
  const config = attentionOrder === undefined ? {} : { attentionOrder };
  const only = needed === "both" ? undefined : needed;
  const { model, note, beside } = await loadVQGAN(path, { range, precision, only, config });
  if (note !== null) printAside(`model: ${note}`);
  if (beside !== null) printAside(beside);
  const lacking = (["encoder", "decoder"] as const).find((half) => model.isWithout(half));
  if (needed === "both" && lacking) {
    throw new Error(`${path} holds a model without ${lacking}, but this needs both halves`);
  }
  if (needed !== "decoder" && flags.size === undefined && model.assumed.includes(resolutionField)) {
    const { resolution } = model.config.ddconfig;
    printAside(
      `nothing says at which size this model was trained: --size sets it, else ${resolution} at most`,
    );
  }
  return { model: model.eval(), path };
}

/** A picture with its name and caption. */
export interface NamedPicture {
  readonly name: string;
  readonly caption: string | null;
  readonly picture: Picture;
}

/** Returns how pictures are read for a model. */
function readOptions({ size: chosen, keepShape, resize }: PictureFlags, model: VQGAN): ReadOptions {
  const size = chosen ?? model.config.ddconfig.resolution;
  const crop = size === 0 || keepShape ? "none" : "center";
  // to a size that nobody stated no picture is enlarged
  const enlarge = chosen !== undefined || !model.assumed.includes(resolutionField);
  return { ...(size === 0 ? {} : { size }), crop, resize, enlarge, multipleOf: model.factor };
}

/**
 * Describes `readOptions` in words for the header of a token file.
 * @returns the description, and the side of the pictures if all are squares of one size, otherwise null
 */
export function preprocessing(
  flags: PictureFlags,
  model: VQGAN,
): { readonly words: string; readonly side: number | null } {
  const { size, crop, resize, enlarge, multipleOf } = readOptions(flags, model);
  const [seen, filter] = resize === "taming"
    ? ["as taming's loader: EXIF and profiles ignored, opacity dropped", "OpenCV's bilinear filter"]
    : ["turned by EXIF, laid on white, sRGB", "Lanczos"];
  const steps = [
    seen,
    ...(size === undefined ? [] : [`smallest side to ${enlarge ? "" : "at most "}${size} by ${filter}`]),
    ...(crop === "center" ? ["middle square"] : []),
    `edges cut evenly to multiples of ${multipleOf}`,
  ];
  const side = crop === "center" && size !== undefined && enlarge ? size - size % model.factor : null;
  return { words: steps.join(", "), side };
}

/**
 * Yields pictures in batches of equal shape. They are read ahead, so that the model does not have to wait. Pictures
 * that cannot be read are reported and skipped. The tensor of a batch, [B, H, W, 3], is freed when the next batch is
 * requested.
 * @throws at the end if there were pictures but none could be read.
 */
export async function* eachBatch(
  samples: AsyncIterable<Sample>,
  flags: PictureFlags,
  model: VQGAN,
  batch = 1,
): AsyncGenerator<{ pictures: NamedPicture[]; images: Tensor }> {
  const options = readOptions(flags, model);
  const start = async (sample: Sample): Promise<NamedPicture | ImageError> => {
    try {
      const [picture, caption] = await Promise.all([sample.picture(options), sample.caption()]);
      return { name: sample.name, caption, picture };
    } catch (error) {
      if (error instanceof ImageError) return error;
      throw error;
    }
  };
  const imagesOf = (pictures: readonly NamedPicture[]) => {
    const { width, height, pixels: { length } } = pictures[0].picture;
    const floats = new Float32Array(pictures.length * length);
    pictures.forEach(({ picture: { pixels } }, i) =>
      toFloats(pixels, model.range, floats.subarray(i * length, (i + 1) * length))
    );
    return tensor(floats, [pictures.length, height, width, 3]);
  };
  let waiting: NamedPicture[] = [], read = 0, skipped = 0;
  const flush = async function* () {
    const images = imagesOf(waiting);
    yield { pictures: waiting, images };
    images.dispose();
    waiting = [];
    // The model has kept this thread busy, so let the pictures that are read ahead make progress.
    await new Promise((resolve) => setImmediate(resolve));
  };
  for await (const result of readAhead(samples, start, 4 * batch + 4)) {
    if (result instanceof ImageError) {
      skipped++;
      printAside(`skipped ${result.path}: ${result.reason}`);
      continue;
    }
    read++;
    const first = waiting.at(0)?.picture, { width, height } = result.picture;
    if (first && (first.width !== width || first.height !== height)) yield* flush();
    waiting.push(result);
    if (waiting.length === batch) yield* flush();
  }
  if (waiting.length > 0) yield* flush();
  if (skipped > 0 && read === 0) throw new Error(`none of the ${count(skipped, "picture")} could be read`);
  if (skipped > 0) printAside(`${count(skipped, "picture")} of ${read + skipped} skipped`);
}

export async function countOf(items: AsyncIterable<unknown>): Promise<number> {
  let total = 0;
  for await (const _ of items) total++;
  return total;
}

/** Names results after their pictures, and adds a number if a name is already taken. */
export function namer(folder: string): (path: string, suffix: string) => string {
  const taken = new Set<string>();
  return (path, suffix) => {
    const stem = basename(path, extname(path));
    let name = `${stem}${suffix}`;
    for (let n = 2; taken.has(name); n++) name = `${stem}-${n}${suffix}`;
    taken.add(name);
    return join(folder, name);
  };
}
