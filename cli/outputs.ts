// Where the results of encode --grids, decode and reconstruct go: names after their pictures, in the same subfolders.
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { FileExistsError } from "../data/index.ts";
import { isImageName, stemOf } from "../data/pictures/names.ts";
import { count } from "./options.ts";
import { printAside } from "./print.ts";

/** The longest name of a file in bytes on the disks of Linux, macOS and Windows. */
const longestName = 255;

/**
 * Returns a path below `folder` for each picture, in their order: the folders that all of them share are left out, and the
 * suffix takes the place of the extension. Where two would be the same, a number is added.
 */
export function outputPaths(folder: string, pictures: readonly string[], suffix: string): string[] {
  const split = pictures.map((picture) => partsOf(picture));
  const shared = split.reduce((count, parts) => Math.min(count, sharedFolders(split[0], parts)), Infinity);
  const taken = new Set<string>(), numbers = new Map<string, number>(); // where to go on counting
  let shortened = 0;
  const paths = split.map((parts) => {
    const names = parts.slice(shared), last = names.pop()!;
    const stem = isImageName(last) ? stemOf(last) : last;
    const fitted = names.map((name) => fit(name, ""));
    const same = join(...fitted, stem).toLowerCase();
    for (let n = numbers.get(same) ?? 1;; n++) {
      const name = fit(stem, n === 1 ? suffix : `-${n}${suffix}`);
      const path = join(folder, ...fitted, name), key = path.toLowerCase(); // some disks do not tell a from A
      if (taken.has(key)) continue;
      taken.add(key);
      numbers.set(same, n + 1);
      if (!name.startsWith(stem) || fitted.some((name, i) => name !== names[i])) shortened++;
      return path;
    }
  });
  if (shortened > 0) printAside(`${count(shortened, "name")} longer than a disk allows: shortened`);
  return paths;
}

/** The parts of a path that may be parts of another one: no way up, and nothing that a disk refuses or a terminal obeys. */
function partsOf(picture: string): string[] {
  const parts = picture.split(/[/\\]+/).filter((part) => !["", ".", ".."].includes(part));
  const safe = parts.map((part) => part.replace(/[\p{C}\p{Zl}\p{Zp}<>:"|?*]/gu, "_"));
  return safe.length > 0 ? safe : ["picture"];
}

/** How many folders two paths share at their beginning. */
function sharedFolders(a: readonly string[], b: readonly string[]): number {
  const most = Math.min(a.length, b.length) - 1;
  let shared = 0;
  while (shared < most && a[shared] === b[shared]) shared++;
  return shared;
}

const encoder = new TextEncoder();

/** Adds a suffix to a name. Of a name that is too long it keeps the beginning, and adds a hash. */
function fit(name: string, suffix: string): string {
  const room = longestName - encoder.encode(suffix).length;
  if (encoder.encode(name).length <= room) return name + suffix;
  const hash = createHash("sha256").update(name).digest("hex").slice(0, 8);
  let length = Math.min(name.length, room); // a character has at least one byte
  while (encoder.encode(name.slice(0, length)).length > room - 9) length--;
  const start = name.slice(0, length).replace(/[\ud800-\udbff]$/, ""); // not half a character
  return `${start}-${hash}${suffix}`;
}

/** @throws FileExistsError if some of the files exist */
export async function refuseExisting(paths: readonly string[]): Promise<void> {
  const existing: string[] = [];
  for (const path of paths) if (await stat(path).catch(() => null)) existing.push(path);
  if (existing.length === 0) return;
  const more = existing.length - 1;
  const others = more === 0 ? "" : `, and so ${more === 1 ? "does" : "do"} ${count(more, "other")}`;
  throw new FileExistsError(existing[0], `it exists already${others}`);
}
