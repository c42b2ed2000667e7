// Loads pictures in batches for training and validation. Pictures are read ahead in the background. Crops and flips
// depend only on the seed, the epoch and the picture, so that a run resumes at the exact picture, no matter how many
// were read ahead.
import {
  callback,
  check,
  checkOptions,
  flag,
  isNumber,
  needed,
  object,
  oneOf,
  orNull,
  rule,
  type Rules,
  texts,
  whole,
} from "../../src/check.ts";
import { anAugment, type Augment, augmented, augmentedSide } from "./augment.ts";
import { Random } from "../../src/random.ts";
import type { Resize } from "./decoder.ts";
import { printable } from "../formats/text.ts";
import { ImageError } from "./image_error.ts";
import "./images.ts"; // reads paths
import { listImages } from "./list.ts";
import { aRange, flipPicture, type Picture, type PixelRange, toFloats } from "./picture.ts";
import { Sampler, type SamplerState, type Share, type Visit } from "./sampler.ts";
import { aResize, readImage } from "./source.ts";

/**
 * Milliseconds before a picture that could not be read is tried again, twice. It may be being copied, or its network disk may
 * be away for a moment.
 */
const patience: readonly number[] = [200, 1000];

/** How an `ImageDataset` reads its pictures. */
export interface DatasetOptions {
  /** Side of the square pictures in pixels: the shorter side is resized to it, then a square is cut out. */
  readonly size: number;
  /** Where the square is cut out. Default `center`, as in taming's custom training set. */
  readonly crop?: "center" | "random";
  /** Mirrors each picture with probability 1/2, drawn anew every epoch. Default false. */
  readonly flip?: boolean;
  /** Random changes of colours, background and size, drawn anew every epoch. Default null: none. */
  readonly augment?: Augment | null;
  /** The seed of the order, the crops, the flips and the changes. Default 0. */
  readonly seed?: number;
  /**
   * Visits the pictures in a new random order every epoch. Default true; false keeps the list order, for validation.
   */
  readonly shuffle?: boolean;
  /** How pictures are decoded and shrunk; see `ReadOptions`. Default `lanczos`. */
  readonly resize?: Resize;
  /** The range of the floats in a batch. Default `signed`: [-1, 1]. */
  readonly range?: PixelRange;
  /** How many pictures are read ahead. Default: two batches. */
  readonly prefetch?: number;
  /** Called for every picture that cannot be read, when it fails first. By default a warning is printed on the console. */
  readonly onSkip?: (path: string, reason: string) => void;
}

/** A batch of pictures as floats, and where each picture came from. */
export interface Batch {
  /** [B, H, W, 3] row-major. */
  readonly pixels: Float32Array;
  /** The shape of `pixels`. */
  readonly shape: [count: number, height: number, width: number, channels: 3];
  /** The same pictures as bytes. */
  readonly pictures: Picture[];
  /** The path of each picture. */
  readonly paths: string[];
  /** The index of each picture in the dataset's `paths`. */
  readonly indices: number[];
  /** The epoch of the first picture. */
  readonly epoch: number;
  /** The position of the first picture in that epoch. */
  readonly position: number;
  /** Pass this to `restore` to continue after this batch. */
  readonly state: SamplerState;
}

const rules: Rules<DatasetOptions> = {
  size: needed(whole(1)),
  crop: oneOf("center", "random"),
  flip: flag,
  augment: orNull(anAugment),
  seed: whole(0),
  shuffle: flag,
  resize: aResize,
  range: aRange,
  prefetch: whole(0),
  onSkip: callback,
};

interface Reading {
  readonly visit: Visit;
  /** The sampler's state once this picture has been used. */
  readonly after: SamplerState;
  /** Resolves to the error instead of rejecting: a rejection that nothing awaits yet would end the program. */
  readonly result: Promise<Picture | ImageError>;
}

/**
 * A data set of picture files.
 * @example All pictures of a folder, once
 * ```ts
 * import { ImageDataset, tensor } from "@tessera/vqgan";
 *
 * const faces = await ImageDataset.open("faces/", { size: 128, crop: "random", seed: 23 });
 * for await (const { pixels, shape } of faces.batches(2, { epochs: 1 })) {
 *   const images = tensor(pixels, shape); // [2, 128, 128, 3]
 *   images.dispose();
 * }
 * ```
 */
export class ImageDataset {
  /** The paths of the pictures, in list order. */
  readonly paths: readonly string[];
  /** The options that were given to the constructor. */
  readonly options: DatasetOptions;

  /** The pictures that could not be read when they were last tried, with the reason. */
  readonly skipped: Map<string, string> = new Map();
  readonly #distinct: number;
  /** The pictures that failed since one could be read. */
  readonly #failing = new Set<string>();
  #state: SamplerState;

  /** `ImageDataset.open` finds the files itself. @throws if there are none, or an option is invalid */
  constructor(paths: readonly string[], options: DatasetOptions) {
    check("ImageDataset", "the list of paths", paths, texts);
    checkOptions("ImageDataset", options, rules);
    this.paths = paths;
    this.options = options;
    this.#distinct = new Set(paths).size;
    this.#state = this.#sampler().state();
  }

  /** Opens the pictures of a folder, glob or .txt list (see `listImages`). */
  static async open(source: string | readonly string[], options: DatasetOptions): Promise<ImageDataset> {
    return new ImageDataset(await listImages(source), options);
  }

  /** How many pictures there are, readable or not. */
  get length(): number {
    return this.paths.length;
  }

  /** The state after the last batch that was returned. */
  state(): SamplerState {
    return this.#state;
  }

  /** Makes the next `batches()` start here. @throws if the state belongs to other pictures or another seed. */
  restore(state: SamplerState): void {
    this.#sampler(state); // checks it
    this.#state = state;
  }

  #sampler(state?: SamplerState, share?: Share): Sampler {
    const sampler = new Sampler(this.length, { ...this.options, share });
    if (state !== undefined) sampler.restore(state);
    return sampler;
  }

  /** One picture as it appears in an epoch: always the same for the same seed, epoch and index. */
  async read(index: number, epoch = 0): Promise<Picture> {
    const { size, crop, flip, augment, resize, seed = 0 } = this.options;
    const random = new Random(seed).fork(`epoch ${epoch} picture ${index}`);
    const isFlipped = random.next() < 0.5; // always drawn, and first, so that turning flips on changes no crop
    const side = augment ? augmentedSide(size, augment, random) : size;
    const read = await readImage(this.paths[index], {
      size: side,
      crop,
      resize,
      random: () => random.next(),
    });
    const picture = augment ? augmented(read, size, augment, random) : read;
    return flip && isFlipped ? flipPicture(picture) : picture;
  }

  /** Says how many pictures were skipped and why, for the end of a run. Returns null if none was. */
  skippedSummary(): string | null {
    if (this.skipped.size === 0) return null;
    const shown = [...this.skipped].slice(0, 5).map(([path, reason]) => `  ${path}: ${reason}`);
    const rest = this.skipped.size - shown.length;
    if (rest > 0) shown.push(`  and ${rest} more`);
    const count = `${this.skipped.size} of ${this.length} pictures could not be read and were skipped`;
    return [`${count}:`, ...shown].join("\n");
  }

  /**
   * Yields batches, starting at the current state. Without `epochs` they never end and are always full, so that a batch
   * may span two epochs. With `epochs` they end at the last picture of the last epoch, and the last batch may be
   * smaller. A picture that cannot be read is tried again twice within a second or so. Then it is reported, the next one in
   * order takes its place, and it is tried again in the next epoch. Where several processes share the pictures, each yields its
   * own.
   * @throws Error if none of the pictures can be read
   */
  async *batches(
    batchSize: number,
    options: { readonly epochs?: number; readonly share?: Share } = {},
  ): AsyncGenerator<Batch> {
    checkOptions("batches", options, {
      epochs: rule("a number above 0", (n) => isNumber(n) && n > 0),
      share: object,
    });
    const { epochs = Infinity, share } = options;
    const sampler = this.#sampler(this.#state, share);
    for await (const batch of this.#read(sampler, sampler.epoch + epochs, batchSize)) {
      this.#state = batch.state;
      yield batch;
    }
    this.#state = sampler.state(); // beyond unreadable pictures at the end
  }

  /**
   * Yields every picture that can be read once, from the first of epoch 0 on: those of a share, if there is one. `state()` and
   * `batches()` do not notice.
   */
  async *once(batchSize: number, share?: Share): AsyncGenerator<Batch> {
    yield* this.#read(this.#sampler(undefined, share), 1, batchSize);
  }

  async *#read(sampler: Sampler, lastEpoch: number, batchSize: number): AsyncGenerator<Batch> {
    check("batches", "the batch size", batchSize, whole(1));
    const ahead = Math.max(1, this.options.prefetch ?? 2 * batchSize);
    const queue: Reading[] = [];
    let taken: { reading: Reading; picture: Picture }[] = [];
    this.#failing.clear();
    try {
      while (true) {
        while (queue.length < ahead && sampler.epoch < lastEpoch) queue.push(this.#startReading(sampler));
        const reading = queue.shift();
        if (reading === undefined) break;
        const result = await reading.result;
        if (result instanceof ImageError) this.#failed(result);
        else {
          this.#failing.clear();
          this.skipped.delete(this.paths[reading.visit.index]);
          taken.push({ reading, picture: result });
        }
        if (taken.length === batchSize) {
          yield this.#batch(taken);
          taken = [];
        }
      }
      if (taken.length > 0) yield this.#batch(taken);
    } finally {
      // Deno crashes if a native reader finishes after the program has ended
      await Promise.all(queue.map(({ result }) => result));
    }
  }

  #startReading(sampler: Sampler): Reading {
    const visit = sampler.next();
    return { visit, after: sampler.state(), result: this.#readPatiently(visit) };
  }

  /** Waits only for the first pictures that fail: where a whole folder is gone, waiting for each would take hours. */
  async #readPatiently({ index, epoch }: Visit): Promise<Picture | ImageError> {
    const path = this.paths[index];
    const delays = this.#failing.size > 0 || this.skipped.has(path) ? [] : patience;
    for (let attempt = 0;; attempt++) {
      try {
        return await this.read(index, epoch);
      } catch (error) {
        if (attempt === delays.length) {
          return error instanceof ImageError ? error : new ImageError(path, String(error));
        }
        await new Promise((resolve) => setTimeout(resolve, delays[attempt]));
      }
    }
  }

  /** Counts a picture among the skipped ones and reports it, if it is not among them: one that another process could not read. */
  noteSkipped(path: string, reason: string): void {
    if (this.skipped.has(path)) return;
    this.skipped.set(path, reason);
    const report = this.options.onSkip ??
      ((path, reason) => console.warn(printable(`skipped ${path}: ${reason}`)));
    report(path, reason);
  }

  #failed({ path, reason }: ImageError): void {
    this.#failing.add(path);
    this.noteSkipped(path, reason);
    if (this.#failing.size === this.#distinct) {
      throw new Error(`none of the ${this.length} pictures can be read; the last was ${path}: ${reason}`);
    }
  }

  #batch(taken: { reading: Reading; picture: Picture }[]): Batch {
    const { size, range } = this.options;
    const pixels = new Float32Array(taken.length * size * size * 3);
    taken.forEach(({ picture }, i) => {
      const start = i * picture.pixels.length;
      toFloats(picture.pixels, range, pixels.subarray(start, start + picture.pixels.length));
    });
    const { visit: { epoch, position } } = taken[0].reading;
    const { after } = taken[taken.length - 1].reading;
    const indices = taken.map(({ reading }) => reading.visit.index);
    return {
      pixels,
      shape: [taken.length, size, size, 3],
      pictures: taken.map(({ picture }) => picture),
      paths: indices.map((index) => this.paths[index]),
      indices,
      epoch,
      position,
      state: after,
    };
  }
}
