// Finds the pictures that a source names: a folder with all its subfolders, a glob, a text file with one path per line, a
// tar archive, a single picture, or several of these. The order is the same on every machine: paths are sorted by code
// units, and a text file or an archive keeps its own order.
import type { Dirent } from "node:fs";
import { readdir, readFile, realpath, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import process from "node:process";
import { aSignal, callback, check, checkOptions, rule, type Rules, texts } from "../../src/check.ts";
import { checkRegular, notReadable } from "../files/source.ts";
import { decodeText } from "../files/text.ts";
import { printable } from "../formats/text.ts";
import { findMember, isArchive, listArchive, refuseCompressed } from "./archive.ts";
import { expandPattern, isPattern } from "./glob.ts";
import { imageExtensions, isCaptionName, isImageName, LeftOut } from "./names.ts";

/** How listing is watched and stopped. */
export interface ListOptions {
  /** Called with the number of pictures found so far. */
  readonly onFound?: (count: number) => void;
  /** Called with each folder or archive in which files are left out, and what they are. By default a warning is printed. */
  readonly onLeftOut?: (source: string, what: string) => void;
  /** Aborting it makes the function reject with its reason. */
  readonly signal?: AbortSignal;
}

export const listRules: Rules<ListOptions> = { onFound: callback, onLeftOut: callback, signal: aSignal };

/** Reports what a folder or an archive has that is not read. */
export function reportLeftOut(source: string, what: string | null, options: ListOptions): void {
  if (what === null) return;
  const report = options.onLeftOut ??
    ((source, what) => console.warn(`left out in ${printable(source)}: ${what}`));
  report(source, what);
}

/** The largest list in bytes, because it is read into memory as a whole. */
const maxList = 2 ** 28;

/** Finds pictures in folders. */
class Finder {
  readonly found: string[] = [];
  readonly leftOut = new LeftOut();
  readonly #entered = new Set<string>();
  readonly #options: ListOptions;

  constructor(options: ListOptions) {
    this.#options = options;
  }

  /** Adds the pictures of a folder and its subfolders in name order. Follows links, but enters each folder only once. */
  async walk(folder: string): Promise<void> {
    this.#options.signal?.throwIfAborted();
    const real = await reading(folder, () => realpath(folder));
    if (this.#entered.has(real)) return;
    this.#entered.add(real);
    const entries = await reading(folder, () => readdir(folder, { withFileTypes: true }));
    const visible = entries.filter(({ name }) => !name.startsWith("."));
    for (const entry of visible.sort((a, b) => (a.name < b.name ? -1 : 1))) {
      const path = join(folder, entry.name);
      if (await isFolder(path, entry)) await this.walk(path);
      else if (isImageName(entry.name)) this.found.push(path);
      else if (!isCaptionName(entry.name)) this.leftOut.addFile(entry.name);
    }
    this.#options.onFound?.(this.found.length);
  }
}

/** Whether an entry of a folder is a folder or leads to one. Some network file systems do not say what an entry is. */
async function isFolder(path: string, entry: Dirent): Promise<boolean> {
  if (entry.isDirectory()) return true;
  if (entry.isFile()) return false;
  return (await statOrNull(path))?.isDirectory() ?? false;
}

const statOrNull = (path: string) => stat(path).catch(() => null);

/** Whether there is a file, or a picture in an archive, at a path. */
async function exists(path: string): Promise<boolean> {
  return (await statOrNull(path) ?? await findMember(path).catch(() => null)) !== null;
}

async function reading<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw notReadable(path, error);
  }
}

async function listFolders(
  folders: readonly string[],
  name: string,
  options: ListOptions,
): Promise<string[]> {
  const finder = new Finder(options);
  for (const folder of folders) await finder.walk(folder);
  reportLeftOut(name, finder.leftOut.summary(), options);
  return finder.found;
}

async function listFolder(folder: string, options: ListOptions): Promise<string[]> {
  const found = await listFolders([folder], folder, options);
  if (found.length > 0) return found;
  throw new Error(
    `no pictures in the folder ${folder} or below it (looked for .${imageExtensions.join(", .")})`,
  );
}

/**
 * Returns the paths in a text file. Relative paths start at the text file's folder, or at the working folder if the
 * first path exists only there.
 */
async function listFile(path: string, bytes: number): Promise<string[]> {
  if (bytes > maxList) throw new Error(`the list ${path} has ${bytes} bytes, at most ${maxList} are read`);
  const text = decodeText(path, await reading(path, () => readFile(path)));
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== "");
  if (lines.length === 0) {
    throw new Error(`the list ${path} names no pictures (one path per line is expected)`);
  }
  const first = lines.find((line) => !isAbsolute(line));
  if (first === undefined) return lines;
  const beside = dirname(resolve(path));
  let base = beside;
  if (!await exists(join(beside, first))) {
    if (!await exists(resolve(first))) {
      throw new Error(
        `the list ${path} names ${first}, which is neither in ${beside} nor in ${process.cwd()}`,
      );
    }
    base = process.cwd();
  }
  return lines.map((line) => isAbsolute(line) ? line : join(base, line));
}

/** Returns the files that a pattern matches, and the pictures in the folders that it matches, each once. */
async function listPattern(pattern: string, options: ListOptions): Promise<string[]> {
  const files: string[] = [], folders: string[] = [];
  for (const path of await expandPattern(pattern)) {
    ((await statOrNull(path))?.isDirectory() ? folders : files).push(path);
  }
  const inside = folders.length > 0 ? await listFolders(folders, pattern, options) : [];
  const found = [...new Set([...files, ...inside])].sort();
  if (found.length > 0) return found;
  const where = `(in ${process.cwd()})`;
  throw new Error(
    folders.length > 0
      ? `the pattern ${pattern} matches ${folders.length} folders, in which there are no pictures ${where}`
      : `nothing matches the pattern ${pattern} ${where}`,
  );
}

/**
 * Lists the pictures and archives that a source names, without looking into the archives.
 * @throws as `listImages` does
 */
export async function listFiles(source: string, options: ListOptions = {}): Promise<string[]> {
  const found = await listSource(source, options);
  for (const path of found) refuseCompressed(path);
  options.onFound?.(found.length);
  return found;
}

async function listSource(source: string, options: ListOptions): Promise<string[]> {
  const found = await statOrNull(source);
  if (found === null) {
    if (isPattern(source)) return await listPattern(source, options);
    if (await findMember(source)) return [source];
    throw new Error(
      `there is no file or folder ${source} (a folder, a "glob*.jpg", a .txt list, a .tar archive or a picture is expected)`,
    );
  }
  if (found.isDirectory()) return await listFolder(source, options);
  const { size } = await checkRegular(source);
  return isCaptionName(source) ? await listFile(source, size) : [source];
}

/**
 * Lists the paths of the pictures that a source names, without reading the pictures. The path of a picture in an archive is
 * that of the archive and its name there, such as "shards/0.tar/0001.jpg"; `readImage` takes it.
 * @param source a folder, a glob such as "faces/*.jpg", a .txt list, a .tar archive, a picture, or several of these in order
 * @throws Error naming the places that were searched if nothing is found
 * @example All pictures in a folder and its subfolders
 * ```ts
 * import { listImages } from "@tessera/vqgan";
 *
 * const paths = await listImages("faces/");
 * ```
 */
export async function listImages(
  source: string | readonly string[],
  options: ListOptions = {},
): Promise<string[]> {
  check(
    "listImages",
    "the source",
    source,
    rule("a path or a list of paths", (s) => typeof s === "string" || texts.accepts(s)),
  );
  checkOptions("listImages", options, listRules);
  const paths: string[] = [];
  const onFound = (count: number) => options.onFound?.(paths.length + count);
  for (const one of typeof source === "string" ? [source] : source) {
    for (const path of await listFiles(one, { ...options, onFound })) {
      options.signal?.throwIfAborted();
      if (!isArchive(path)) paths.push(path);
      else {
        const { pictures, leftOut } = await listArchive(path);
        reportLeftOut(path, leftOut, options);
        for (const name of pictures.keys()) paths.push(`${path}/${name}`);
      }
    }
  }
  onFound(0);
  return paths;
}
