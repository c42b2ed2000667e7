// Pictures and captions in tar archives, in WebDataset's layout (0001.jpg, 0001.txt, ...). A member's path is the path of
// the archive, a slash, and the member's name. Archives are read by range, so a member costs only its own bytes.
import { stat } from "node:fs/promises";
import { openFile } from "../files/source.ts";
import { type TarMember, tarMembers } from "../files/tar.ts";
import { type RandomAccess, readRange } from "../formats/source.ts";
import { ImageError } from "./image_error.ts";
import { captionStems, isCaptionName, isImageName, LeftOut, stemOf } from "./names.ts";

/** The members of an archive that are read. */
export interface Archive {
  readonly path: string;
  /** The pictures by name, in the archive's order. */
  readonly pictures: ReadonlyMap<string, TarMember>;
  /** The captions by name without extension. */
  readonly captions: ReadonlyMap<string, TarMember>;
  /** What is not read, in words; null if everything is. */
  readonly leftOut: string | null;
}

export const isArchive = (path: string): boolean => /\.tar$/i.test(path);

/** @throws if the path is that of a compressed archive */
export function refuseCompressed(path: string): void {
  if (!/\.(tgz|tar\.\w+)$/i.test(path)) return;
  throw new Error(`${path}: a compressed archive cannot be read by range; unpack it to a plain .tar first`);
}

/**
 * Lists the pictures and captions of an archive. Of several members with one name the last counts, as for tar itself.
 * @throws FormatError if it is damaged; an Error if it has no pictures
 */
export async function listArchive(path: string): Promise<Archive> {
  const pictures = new Map<string, TarMember>(), captions = new Map<string, TarMember>();
  const leftOut = new LeftOut();
  await within(path, async (source) => {
    for await (const member of tarMembers(source)) {
      const { name } = member;
      if (isImageName(name)) {
        if (pictures.has(name)) leftOut.addDuplicate();
        pictures.set(name, member);
      } else if (isCaptionName(name)) captions.set(stemOf(name), member);
      else leftOut.addFile(name);
    }
  });
  if (pictures.size === 0) throw new Error(`no pictures in the archive ${path}`);
  return { path, pictures, captions, leftOut: leftOut.summary() };
}

/** Returns the member with the caption of a picture, if there is one. */
export function captionMember({ captions }: Archive, picture: string): TarMember | undefined {
  for (const stem of captionStems(picture)) {
    const member = captions.get(stem);
    if (member) return member;
  }
}

/** Reads the bytes of a member. */
export async function readMember(
  path: string,
  { name, offset, size }: TarMember,
): Promise<Uint8Array<ArrayBuffer>> {
  return await within(path, (source) => readRange(source, offset, size, name));
}

/** The archives whose members were looked up by their paths. */
const known = new Map<string, { readonly byteLength: number; readonly archive: Promise<Archive> }>();

/**
 * Finds a member by its path, such as "shards/0.tar/0001.jpg". The archive is listed once, and again if its size changes.
 * @returns null if no part of the path is an archive
 * @throws ImageError if the archive has no such picture; what `listArchive` throws
 */
export async function findMember(path: string): Promise<{ archive: Archive; member: TarMember } | null> {
  const [, file, name] = /^(.*?\.tar)[/\\](.+)$/is.exec(path) ?? [];
  if (file === undefined) return null;
  const found = await stat(file).catch(() => null);
  if (!found?.isFile()) return null;
  const byteLength = found.size;
  let entry = known.get(file);
  if (entry?.byteLength !== byteLength) {
    entry = { byteLength, archive: listArchive(file) };
    entry.archive.catch(() => known.delete(file));
    known.set(file, entry);
  }
  const archive = await entry.archive, member = archive.pictures.get(name);
  if (member) return { archive, member };
  throw new ImageError(path, `the archive ${file} has no such picture`);
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
