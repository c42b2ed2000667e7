// Reads pictures with their captions: files with a .txt file next to them, or the members of tar archives in
// WebDataset's layout (0001.jpg, 0001.txt, ...).
import { readFile, stat } from "node:fs/promises";
import { check, checkOptions, texts } from "../../src/check.ts";
import type { TarMember } from "../files/tar.ts";
import { decodeText } from "../files/text.ts";
import { type Archive, captionMember, findMember, isArchive, listArchive, readMember } from "./archive.ts";
import "./images.ts"; // reads paths
import { listFiles, type ListOptions, listRules, reportLeftOut } from "./list.ts";
import { captionStems } from "./names.ts";
import type { Picture } from "./picture.ts";
import { readEncoded, readImage, type ReadOptions } from "./source.ts";

/** A picture with its caption. Both are read on request. */
export interface Sample {
  /** The path of the picture. In an archive: the path of the archive, a slash, and the member's name. */
  readonly name: string;
  /** Reads the picture. @throws ImageError naming the sample */
  picture(options?: ReadOptions): Promise<Picture>;
  /**
   * Reads the .txt file of the same name and trims it. Returns null if there is none.
   * @throws an Error naming the file if it is too long, or neither UTF-8 nor UTF-16 with a byte order mark
   */
  caption(): Promise<string | null>;
}

/** The largest caption in bytes, because it is read into memory as a whole. */
const maxCaption = 2 ** 16;

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
export async function* eachSample(
  sources: readonly string[],
  options: ListOptions = {},
): AsyncGenerator<Sample> {
  check("eachSample", "the list of sources", sources, texts);
  checkOptions("eachSample", options, listRules);
  for (const source of sources) {
    for (const path of await listFiles(source, options)) yield* samplesAt(path, options);
  }
}

/** Yields the picture at a path, or all those of the archive there. */
export async function* samplesAt(path: string, options: ListOptions): AsyncGenerator<Sample> {
  if (!isArchive(path)) return yield fileSample(path);
  const archive = await listArchive(path);
  reportLeftOut(path, archive.leftOut, options);
  for (const member of archive.pictures.values()) yield memberSample(archive, member);
}

/** A picture of its own, or one in an archive that was named by its path. */
function fileSample(path: string): Sample {
  return {
    name: path,
    picture: (options) => readImage(path, options),
    async caption() {
      for (const stem of captionStems(path)) {
        for (const beside of [`${stem}.txt`, `${stem}.TXT`]) {
          const found = await stat(beside).catch(() => null);
          if (found?.isFile() === true) return captionOf(beside, found.size, () => readFile(beside));
        }
      }
      const inside = await findMember(path).catch(() => null);
      return inside && await memberSample(inside.archive, inside.member).caption();
    },
  };
}

function memberSample(archive: Archive, member: TarMember): Sample {
  const { path } = archive, name = `${path}/${member.name}`;
  return {
    name,
    picture: (options) =>
      readEncoded({ byteLength: member.size, read: () => readMember(path, member) }, name, options),
    async caption() {
      const beside = captionMember(archive, member.name);
      if (beside === undefined) return null;
      return await captionOf(`${path}/${beside.name}`, beside.size, () => readMember(path, beside));
    },
  };
}

/** @throws an Error naming the file if it is too long or not text */
async function captionOf(path: string, bytes: number, read: () => Promise<Uint8Array>): Promise<string> {
  if (bytes > maxCaption) {
    throw new Error(`${path}: a caption of ${bytes} bytes is too long, at most ${maxCaption} are read`);
  }
  return decodeText(path, await read()).trim();
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
  items: AsyncIterable<T> | Iterable<T>,
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
