// One spelling for each path, so that ./faces, faces/, an absolute path and a link to the folder name the same pictures.
import { realpath, stat } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative } from "node:path";
import process from "node:process";
import { isPattern } from "./glob.ts";

/**
 * Returns a source of pictures in one spelling: relative to the working folder if it is below it, otherwise absolute. Links to
 * folders are followed. A file keeps its own name, also if it is a link, because the name says what it is: caches of downloads
 * link names that end in .tar to files that are named by a hash.
 */
export async function canonicalSource(source: string): Promise<string> {
  const found = await stat(source).catch(() => null);
  if (found?.isDirectory()) return await realFolder(source);
  if (found) return join(await realFolder(dirname(source)), basename(source));
  if (isPattern(source)) {
    const parts = source.split("/"), at = parts.findIndex(isPattern);
    const before = parts.slice(0, at).join("/") || (source.startsWith("/") ? "/" : ".");
    return join(await realFolder(before), ...parts.slice(at));
  }
  const [, archive, member] = /^(.*?\.tar)[/\\](.+)$/is.exec(source) ?? [];
  return archive !== undefined && await stat(archive).catch(() => null)
    ? `${await canonicalSource(archive)}/${member}`
    : source; // whoever lists it says that there is nothing
}

async function realFolder(folder: string): Promise<string> {
  const real = await realpath(folder).catch(() => folder);
  const below = relative(await realpath(process.cwd()), real);
  if (below === "") return ".";
  return below === ".." || /^\.\.[/\\]/.test(below) || isAbsolute(below) ? real : below;
}
