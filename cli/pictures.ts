// The pictures of encode and reconstruct: how they are read and put into batches.
import { Option } from "commander";
import { resolutionField } from "../data/formats/guess.ts";
import {
  ImageError,
  type Picture,
  readAhead,
  type ReadOptions,
  type Resize,
  type Sample,
  toFloats,
} from "../data/index.ts";
import type { VQGAN } from "../nn/index.ts";
import { type Tensor, tensor } from "../src/index.ts";
import type { Size } from "./cost.ts";
import { messageOf } from "./messages.ts";
import { count, resizeOption, wholeNumber } from "./options.ts";
import { printAside } from "./print.ts";

export interface PictureFlags {
  readonly size?: number;
  readonly keepShape?: boolean;
  readonly resize: Resize;
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
    : ["turned by EXIF, laid on white, sRGB", `Lanczos${enlarge ? ", or enlarged bicubically" : ""}`];
  const steps = [
    seen,
    ...(size === undefined ? [] : [`smallest side to ${enlarge ? "" : "at most "}${size} by ${filter}`]),
    ...(crop === "center" ? ["middle square"] : []),
    `edges cut evenly to multiples of ${multipleOf}`,
  ];
  const side = crop === "center" && size !== undefined && enlarge ? size - size % model.factor : null;
  return { words: steps.join(", "), side };
}

/** A picture with its name and caption. */
export interface NamedPicture {
  readonly name: string;
  readonly caption: string | null;
  readonly picture: Picture;
}

/** Pictures of one shape, [B, H, W, 3]. The tensor is freed when the next batch is requested. */
export interface PictureBatch {
  readonly pictures: readonly NamedPicture[];
  readonly images: Tensor;
  readonly size: Size;
}

/** Reads pictures, and counts what could not be read. */
export class PictureReader {
  readonly #flags: PictureFlags;
  readonly #model: VQGAN;
  readonly #refusal: (size: Size) => string | null;
  #read = 0;
  #skipped = 0;
  #captions = 0;

  /** @param refusal returns why a batch of this size cannot be used, or null */
  constructor(flags: PictureFlags, model: VQGAN, refusal: (size: Size) => string | null) {
    this.#flags = flags;
    this.#model = model;
    this.#refusal = refusal;
  }

  #skip(name: string, reason: string): void {
    this.#skipped++;
    printAside(`skipped ${name}: ${reason}`);
  }

  /**
   * Yields pictures in batches of equal shape. They are read ahead, so that the model does not have to wait. Those that
   * cannot be read or are too large are reported and skipped, and so are captions.
   */
  async *batches(
    samples: AsyncIterable<Sample> | Iterable<Sample>,
    signal: AbortSignal,
    batch = 1,
  ): AsyncGenerator<PictureBatch> {
    const options = readOptions(this.#flags, this.#model);
    const read = async (sample: Sample): Promise<NamedPicture | ImageError> => {
      try {
        const [picture, caption] = await Promise.all([sample.picture(options), this.#caption(sample)]);
        return { name: sample.name, caption, picture };
      } catch (error) {
        if (error instanceof ImageError) return error;
        throw error;
      }
    };
    // pictures of their own size may be large, so only a few are held in memory
    const ahead = options.size === undefined ? 2 : 4 * batch + 4;
    let waiting: NamedPicture[] = [];
    for await (const result of readAhead(samples, read, ahead)) {
      signal.throwIfAborted();
      if (result instanceof ImageError) {
        this.#skip(result.path, result.reason);
        continue;
      }
      const first = waiting.at(0)?.picture, { width, height } = result.picture;
      if (first && (first.width !== width || first.height !== height)) {
        yield* this.#batch(waiting);
        waiting = [];
      }
      waiting.push(result);
      if (waiting.length === batch) {
        yield* this.#batch(waiting);
        waiting = [];
      }
    }
    if (waiting.length > 0) yield* this.#batch(waiting);
  }

  async #caption(sample: Sample): Promise<string | null> {
    try {
      return await sample.caption();
    } catch (error) {
      this.#captions++;
      printAside(`caption left out: ${messageOf(error)}`);
      return null;
    }
  }

  async *#batch(pictures: readonly NamedPicture[]): AsyncGenerator<PictureBatch> {
    const { width, height, pixels: { length } } = pictures[0].picture;
    const size = [pictures.length, height, width] as const, refusal = this.#refusal(size);
    if (refusal !== null) {
      for (const { name } of pictures) this.#skip(name, refusal);
      return;
    }
    const floats = new Float32Array(pictures.length * length);
    pictures.forEach(({ picture: { pixels } }, i) =>
      toFloats(pixels, this.#model.range, floats.subarray(i * length, (i + 1) * length))
    );
    const images = tensor(floats, [...size, 3]);
    this.#read += pictures.length;
    try {
      yield { pictures, images, size };
    } finally {
      images.dispose();
    }
    // The model has kept this thread busy, so let the pictures that are read ahead make progress.
    await new Promise((resolve) => setImmediate(resolve));
  }

  /**
   * Says how many pictures and captions were left out.
   * @param mayBeEmpty whether there may be no picture that could be read
   * @throws if there is none all the same
   */
  summary({ mayBeEmpty = false } = {}): void {
    const all = this.#read + this.#skipped;
    if (this.#captions > 0) printAside(`${count(this.#captions, "caption")} left out`);
    if (this.#skipped > 0 && this.#read === 0 && !mayBeEmpty) {
      throw new Error(`none of the ${count(all, "picture")} could be used`);
    }
    if (this.#skipped > 0) printAside(`${count(this.#skipped, "picture")} of ${all} skipped`);
  }
}
