// Reads pictures with their captions: files with a .txt file next to them, or the members of tar archives in
// WebDataset's layout (0001.jpg, 0001.txt, ...).
import { readFile, stat } from "node:fs/promises";
import { check, texts } from "../../src/check.ts";
import { openFile } from "../files/source.ts";
import { type TarMember, tarMembers } from "../files/tar.ts";
import { type RandomAccess, readRange } from "../formats/source.ts";
import { ImageError } from "./image_error.ts";
import "./images.ts"; // reads paths
import { isImageName, listImages } from "./list.ts";
import type { Picture } from "./picture.ts";
import { readImage, type ReadOptions } from "./source.ts";

/** A picture with its caption. Both are read on request. */
export interface Sample {
  /** The path of the picture. In an archive: the path of the archive, a slash, and the member's name. */
  readonly name: string;
  /** Reads the picture. @throws ImageError naming the sample */
  picture(options?: ReadOptions): Promise<Picture>;
  /** Reads the .txt file of the same name and trims it. Returns null if there is none. */
  caption(): Promise<string | null>;
}

/**
 * The size limits of a picture in an archive and of a caption in bytes, because both are read into memory as a whole.
 */
const maxPicture = 2 ** 29, maxCaption = 2 ** 16;

/**
 * Yields all pictures of folders, globs, .txt lists, files and .tar archives, in a fixed order: a folder by name, a
 * list or an archive in its own order. Pictures in an archive are read by range, one at a time.
 * @throws if nothing is found, or an archive is damaged
 * @example The tokens and captions of a folder
 * ```ts
 * import { eachSample, readAhead, type Sample, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt");
 * const read = (sample: Sample) => Promise.all([sample.picture(), sample.caption()]);
 * for await (const [picture, caption] of readAhead(eachSample(["faces/"]), read, 4)) {
 *   const { tokens } = await model.tokensOf(picture);
 *   console.log(caption, tokens.length);
 * }
 * ```
 */
export async function* eachSample(sources: readonly string[]): AsyncGenerator<Sample> {
  check("eachSample", "the list of sources", sources, texts);
  for (const source of sources) {
    for (const path of await listImages(source)) {
      if (/\.(tgz|tar\.\w+)$/i.test(path)) {
        throw new Error(
          `${path}: a compressed archive cannot be read by range; unpack it to a plain .tar first`,
        );
      }
      if (/\.tar$/i.test(path)) yield* archiveSamples(path);
      else yield fileSample(path);
    }
  }
}

const stemOf = (name: string) => name.replace(/\.[^./\\]*$/, "");

function checkCaption(name: string, size: number): void {
  if (size > maxCaption) {
    throw new ImageError(name, `its caption has ${size} bytes, at most ${maxCaption} are read`);
  }
}

function fileSample(path: string): Sample {
  return {
    name: path,
    picture: (options) => readImage(path, options),
    async caption() {
      const beside = `${stemOf(path)}.txt`;
      const found = await stat(beside).catch(() => null);
      if (found?.isFile() !== true) return null;
      checkCaption(path, found.size);
      return (await readFile(beside, "utf8")).trim();
    },
  };
}

/** Lists the members of an archive before it yields any, because a caption may come after its picture. */
async function* archiveSamples(path: string): AsyncGenerator<Sample> {
  const pictures: TarMember[] = [], texts = new Map<string, TarMember>();
  await within(path, async (source) => {
    for await (const member of tarMembers(source)) {
      if (isImageName(member.name)) pictures.push(member);
      else if (member.name.endsWith(".txt")) texts.set(stemOf(member.name), member);
    }
  });
  if (pictures.length === 0) throw new Error(`no pictures in the archive ${path}`);
  const read = ({ name, offset, size }: TarMember) =>
    within(path, (source) => readRange(source, offset, size, name));
  for (const member of pictures) {
    const name = `${path}/${member.name}`;
    yield {
      name,
      async picture(options) {
        if (member.size > maxPicture) {
          throw new ImageError(name, `it has ${member.size} bytes, at most ${maxPicture} are read`);
        }
        try {
          return await readImage(await read(member), options);
        } catch (error) {
          throw error instanceof ImageError ? new ImageError(name, error.reason) : error;
        }
      },
      async caption() {
        const beside = texts.get(stemOf(member.name));
        if (beside === undefined) return null;
        checkCaption(name, beside.size);
        return new TextDecoder().decode(await read(beside)).trim();
      },
    };
  }
}

/**
 * Opens the archive anew for each use: a picture that is read ahead may still need it when the next archive has begun.
 */
async function within<T>(path: string, use: (source: RandomAccess) => Promise<T>): Promise<T> {
  const source = await openFile(path);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

/**
 * Calls `start` for each item and yields the results in order. Up to `ahead` calls are under way at the same time.
 * Leaving the loop waits for those.
 * @example Decoding pictures while others are used
 * ```ts
 * import { eachSample, readAhead } from "@tessera/vqgan";
 *
 * for await (const { width, height } of readAhead(eachSample(["faces/"]), (sample) => sample.picture(), 8)) {
 *   console.log(width, height);
 * }
 * ```
 */
export async function* readAhead<T, R>(
  items: AsyncIterable<T>,
  start: (item: T) => Promise<R>,
  ahead: number,
): AsyncGenerator<R> {
  const queue: Promise<R>[] = [];
  try {
    for await (const item of items) {
      const result = start(item);
      result.catch(() => {}); // prevents an unhandled rejection; the error is thrown when the item's turn comes
      queue.push(result);
      if (queue.length > ahead) yield await queue.shift()!;
    }
    while (queue.length > 0) yield await queue.shift()!;
  } finally {
    await Promise.allSettled(queue); // leaves no work running in the background
  }
}
