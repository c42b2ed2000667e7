// Finds the pictures that a source names: a folder with all its subfolders, a glob, a text file with one path per line,
// a single picture, or several of these. The order is the same on every machine: paths are sorted by code units, and a
// text file keeps its own order.
import { glob, readdir, readFile, realpath, stat } from "node:fs/promises";
import { dirname, isAbsolute, join, resolve } from "node:path";
import process from "node:process";
import { check, rule, texts } from "../../src/check.ts";

/** The file extensions of pictures in folders. A glob or a list may name files with any extension. */
const imageExtensions: readonly string[] = [
  "jpg",
  "jpeg",
  "png",
  "webp",
  "gif",
  "avif",
  "tif",
  "tiff",
];

async function statOrNull(path: string): Promise<{ isDirectory(): boolean } | null> {
  try {
    return await stat(path);
  } catch {
    return null;
  }
}

export function isImageName(name: string): boolean {
  return imageExtensions.includes(name.slice(name.lastIndexOf(".") + 1).toLowerCase());
}

/** Adds the pictures of a folder and its subfolders in name order. Follows links, but enters each folder only once. */
async function walk(folder: string, entered: Set<string>, found: string[]): Promise<void> {
  const real = await realpath(folder);
  if (entered.has(real)) return;
  entered.add(real);
  const names = (await readdir(folder)).filter((name) => !name.startsWith(".")).sort();
  for (const name of names) {
    const path = join(folder, name);
    const isFolder = isImageName(name) ? false : (await statOrNull(path))?.isDirectory() ?? false;
    if (isFolder) await walk(path, entered, found);
    else if (isImageName(name)) found.push(path);
  }
}

async function listFolder(folder: string): Promise<string[]> {
  const found: string[] = [];
  await walk(folder, new Set(), found);
  if (found.length === 0) {
    throw new Error(
      `no pictures in the folder ${folder} or below it (looked for .${imageExtensions.join(", .")})`,
    );
  }
  return found;
}

/**
 * Returns the paths in a text file. Relative paths start at the text file's folder, or at the working folder if the
 * first path exists only there.
 */
async function listFile(path: string): Promise<string[]> {
  const text = (await readFile(path, "utf8")).replace(/^\uFEFF/, "");
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== "");
  if (lines.length === 0) {
    throw new Error(`the list ${path} names no pictures (one path per line is expected)`);
  }
  const first = lines.find((line) => !isAbsolute(line));
  if (first === undefined) return lines;
  const beside = dirname(resolve(path));
  let base = beside;
  if (await statOrNull(join(beside, first)) === null) {
    if (await statOrNull(resolve(first)) === null) {
      throw new Error(
        `the list ${path} names ${first}, which is neither in ${beside} nor in ${process.cwd()}`,
      );
    }
    base = process.cwd();
  }
  return lines.map((line) => isAbsolute(line) ? line : join(base, line));
}

async function listGlob(pattern: string): Promise<string[]> {
  const found: string[] = [];
  for await (const path of glob(pattern)) found.push(path);
  const isFile = await Promise.all(
    found.map(async (path) => (await statOrNull(path))?.isDirectory() === false),
  );
  const files = found.filter((_, i) => isFile[i]).sort();
  if (files.length === 0) throw new Error(`no file matches the pattern ${pattern} (in ${process.cwd()})`);
  return files;
}

/**
 * Lists the paths of the pictures that a source names, without reading the pictures.
 * @param source a folder, a glob such as "faces/*.jpg", a .txt list, a picture, or several of these in order
 * @throws Error naming the places that were searched if nothing is found
 * @example All pictures in a folder and its subfolders
 * ```ts
 * import { listImages } from "@tessera/vqgan";
 *
 * const paths = await listImages("faces/");
 * ```
 */
export async function listImages(source: string | readonly string[]): Promise<string[]> {
  check(
    "listImages",
    "the source",
    source,
    rule("a path or a list of paths", (s) => typeof s === "string" || texts.accepts(s)),
  );
  if (typeof source !== "string") return (await Promise.all(source.map((one) => listImages(one)))).flat();
  const found = await statOrNull(source);
  if (found?.isDirectory()) return await listFolder(source);
  if (found !== null) return source.toLowerCase().endsWith(".txt") ? await listFile(source) : [source];
  if (/[*?[\]{}]/.test(source)) return await listGlob(source);
  throw new Error(
    `there is no file or folder ${source} (a folder, a "glob*.jpg", a .txt list or a picture is expected)`,
  );
}
