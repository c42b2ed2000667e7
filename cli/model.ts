// What reconstruct, encode and decode have in common: the model, the pictures, and where results go.
import { stat } from "node:fs/promises";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Option } from "commander";
import { ImageError, listImages, type Picture, type PixelRange, readImage, toFloats } from "../data/index.ts";
import { VQGAN } from "../nn/index.ts";
import { type Tensor, tensor } from "../src/index.ts";
import { count, UsageError, wholeNumber } from "./options.ts";

/** The small model of faces that comes with Tessera. */
export const shippedModel: string = fileURLToPath(new URL("../models/faces.safetensors", import.meta.url));

export interface ModelFlags {
  readonly model?: string;
  readonly range: PixelRange;
}

export interface PictureFlags {
  readonly size?: number;
  readonly keepShape?: boolean;
}

export function modelOptions(): Option[] {
  return [
    new Option(
      "-m, --model <file>",
      "checkpoint: .ckpt, .pt, .safetensors or Flax (default: the small faces model)",
    ),
    new Option(
      "--range <kind>",
      "what the model expects of pixels: signed [-1, 1], or unit [0, 1] (DALL-E mini)",
    )
      .choices(["signed", "unit"]).default("signed"),
  ];
}

export function pictureOptions(): Option[] {
  return [
    new Option(
      "--size <pixels>",
      "resize the smallest side to this and crop the middle square; 0: leave as it is (default: the model's)",
    )
      .argParser(wholeNumber(0)),
    new Option("--keep-shape", "do not crop to a square, only to whole tokens"),
  ];
}

/** @throws if the file is missing or no model. */
export async function openModel({ model, range }: ModelFlags): Promise<{ model: VQGAN; path: string }> {
  const path = model ?? shippedModel;
  if (model === undefined && await stat(path).catch(() => null) === null) {
    throw new UsageError("no model is given: use --model FILE");
  }
  return { model: (await VQGAN.load(path, { range })).eval(), path };
}

/**
 * The pictures one after another, those that cannot be read reported and left out.
 * @throws at the end if none could be read.
 */
export async function* eachPicture(
  sources: readonly string[],
  { size: chosen, keepShape }: PictureFlags,
  model: VQGAN,
): AsyncGenerator<{ path: string; picture: Picture; images: Tensor; index: number; total: number }> {
  const paths = await listImages(sources);
  const size = chosen ?? model.config.ddconfig.resolution;
  const options = {
    ...(size === 0 ? {} : { size }),
    crop: size === 0 || keepShape ? "none" : "center",
    multipleOf: model.factor,
  } as const;
  const skipped: string[] = [];
  for (const [index, path] of paths.entries()) {
    try {
      const picture = await readImage(path, options);
      const { height, width, pixels } = picture;
      const images = tensor(toFloats(pixels, model.range), [1, height, width, 3]);
      yield { path, picture, images, index, total: paths.length };
      images.dispose();
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      skipped.push(path);
      console.warn(`skipped ${path}: ${error.reason}`);
    }
  }
  if (skipped.length === paths.length) {
    throw new Error(`none of the ${count(paths.length, "picture")} could be read`);
  }
  if (skipped.length > 0) console.warn(`${count(skipped.length, "picture")} of ${paths.length} skipped`);
}

/** File names for results: those of the pictures, with numbers where two would be equal. */
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
