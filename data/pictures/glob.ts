// Expands a pattern such as "faces/**/*.jpg" as a shell does: it matches files and folders, follows links, and matches
// hidden names only if the pattern has the dot. node:fs has a glob, which follows no links.
import { readdir, realpath, stat } from "node:fs/promises";
import { join, matchesGlob } from "node:path";

const magic = /[*?[\]{}]/;

/** Whether a text is a pattern, and not a plain path. */
export const isPattern = (text: string): boolean => magic.test(text);

/** Returns the existing paths that a pattern matches, sorted by code units. "**" stands for any number of folders. */
export async function expandPattern(pattern: string): Promise<string[]> {
  const found = new Set<string>();
  for (const alternative of withoutBraces(pattern)) {
    const parts = alternative.split("/"), isAbsolute = parts[0] === "";
    for await (const path of matches(isAbsolute ? "/" : "", parts.filter((part) => part !== ""))) {
      found.add(path);
    }
  }
  return [...found].sort();
}

/** Replaces braces by one pattern for each choice: "{a,b/c}.png" becomes "a.png" and "b/c.png". */
function withoutBraces(pattern: string): string[] {
  const [whole, before, inside, after] = /^(.*?)\{([^{}]*,[^{}]*)\}(.*)$/.exec(pattern) ?? [];
  if (whole === undefined) return [pattern];
  return inside.split(",").flatMap((choice) => withoutBraces(`${before}${choice}${after}`));
}

async function* matches(folder: string, [part, ...rest]: readonly string[]): AsyncGenerator<string> {
  if (part === undefined) return;
  const isLast = rest.length === 0;
  if (part === "**") {
    for await (const inner of foldersBelow(folder, new Set())) {
      yield* matches(inner, isLast ? ["*"] : rest);
    }
    return;
  }
  for (const name of isPattern(part) ? await namesIn(folder, part) : [part]) {
    const path = join(folder, name);
    if (!isLast) yield* matches(path, rest);
    else if (await stat(path).catch(() => null)) yield path;
  }
}

/** The names in a folder that match or equal one part of a pattern; none if the folder cannot be read. */
async function namesIn(folder: string, part: string): Promise<string[]> {
  const names = await readdir(folder || ".").catch(() => []);
  const isVisible = (name: string) => part.startsWith(".") || !name.startsWith(".");
  return names.filter((name) => isVisible(name) && (name === part || matchesGlob(name, part)));
}

/** The folder and all folders below it, each once, even if links lead to it again. */
async function* foldersBelow(folder: string, entered: Set<string>): AsyncGenerator<string> {
  const real = await realpath(folder || ".").catch(() => null);
  if (real === null || entered.has(real)) return;
  entered.add(real);
  yield folder;
  for (const name of (await namesIn(folder, "*")).sort()) {
    const path = join(folder, name);
    if ((await stat(path).catch(() => null))?.isDirectory()) yield* foldersBelow(path, entered);
  }
}
