// Finds pictures that are the same under two paths: links, a folder that is named twice, and copies of a file.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";

/** How many bytes at the beginning and at the end of a file are compared before the whole of it is. */
const edge = 4096;

/** How many files are looked at at the same time. */
const atOnce = 32;

interface File {
  readonly path: string;
  /** The file behind the path, after all links. */
  readonly inode: string;
  readonly size: number;
}

/**
 * Returns for each path a name of its content: paths with the same name hold the same bytes. A file that cannot be read is
 * named by its path. Only files of the same size and with the same edges are read whole.
 */
export async function contentNames(paths: readonly string[]): Promise<Map<string, string>> {
  const names = new Map(paths.map((path) => [path, path]));
  const files = (await inParallel([...names.keys()], look)).filter((file) => file !== null);
  const byInode = Map.groupBy(files, ({ inode }) => inode);
  const firsts = [...byInode.values()].map(([first]) => first);
  const alike = await subdivided(sharing(firsts, ({ size }) => String(size)), edgesOf);
  const equal = await subdivided(alike, wholeOf);
  for (const group of equal) {
    for (const { inode } of group) {
      for (const { path } of byInode.get(inode)!) names.set(path, group[0].inode);
    }
  }
  const known = new Set(equal.flat().map(({ inode }) => inode));
  for (const { path, inode } of files) if (!known.has(inode)) names.set(path, inode);
  return names;
}

async function look(path: string): Promise<File | null> {
  try {
    const { dev, ino, size } = await stat(path, { bigint: true });
    return { path, inode: `${dev}:${ino}`, size: Number(size) };
  } catch {
    return null;
  }
}

/** Splits groups further by what `read` returns of each file, and drops files that no other is like. */
async function subdivided(
  groups: readonly (readonly File[])[],
  read: (file: File) => Promise<string | null>,
): Promise<File[][]> {
  const parts = await inParallel(groups.flat(), async (file) => ({ file, part: await read(file) }));
  const partOf = new Map(parts.map(({ file, part }) => [file, part]));
  return groups.flatMap((group) =>
    sharing(group.filter((file) => partOf.get(file) !== null), (file) => partOf.get(file)!)
  );
}

/** The groups of files with the same key that have at least two members. */
function sharing(files: readonly File[], key: (file: File) => string): File[][] {
  return [...Map.groupBy(files, key).values()].filter((group) => group.length > 1);
}

async function edgesOf({ path, size }: File): Promise<string | null> {
  const handle = await open(path).catch(() => null);
  if (handle === null) return null;
  try {
    const bytes = new Uint8Array(2 * edge);
    await handle.read(bytes, 0, edge, 0);
    await handle.read(bytes, edge, edge, Math.max(0, size - edge));
    return createHash("sha256").update(bytes).digest("hex");
  } catch {
    return null;
  } finally {
    await handle.close();
  }
}

async function wholeOf({ path }: File): Promise<string | null> {
  try {
    const hash = createHash("sha256");
    for await (const bytes of createReadStream(path)) hash.update(bytes);
    return hash.digest("hex");
  } catch {
    return null;
  }
}

async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let start = 0; start < items.length; start += atOnce) {
    results.push(...await Promise.all(items.slice(start, start + atOnce).map(work)));
  }
  return results;
}
