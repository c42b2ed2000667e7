// The pictures of a run: which ones are for training and which for validation, and how they differ from those that the run had
// before. Their list is kept in the run's folder.
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { dirname, resolve, sep } from "node:path";
import { listImages, type ListOptions } from "../../data/index.ts";
import { jsonRecord } from "../../data/formats/json.ts";
import { printable } from "../../data/formats/text.ts";
import { Random } from "../../src/index.ts";
import { contentNames } from "./copies.ts";
import type { RunNote } from "./notes.ts";
import type { RunOptions } from "./settings.ts";
import type { RunPictures } from "./state.ts";

/** A picture of a run. */
export interface RunPicture {
  /** The path of its file. */
  readonly path: string;
  /** The size of the file; null if it cannot be looked at. */
  readonly bytes: number | null;
  /** When the file was changed last, in whole milliseconds. */
  readonly modified: number | null;
  /** Whether it is for validation. */
  readonly held: boolean;
}

/** The pictures of a run, in the order in which they are read. */
export interface PictureList extends RunPictures {
  /** Those to train on, then those for validation. */
  readonly entries: readonly RunPicture[];
  /** The list as it is stored: one picture a line. */
  readonly text: string;
  /** The pictures for validation that this run has learnt from. */
  readonly learnt: number;
  /** How many pictures of `data` are left out because they are validation pictures too, or copies of them. */
  readonly shared: number;
}

/** Returns the paths of a list: to train on, or for validation. */
export const pathsOf = ({ entries }: PictureList, held: boolean): string[] =>
  entries.filter((entry) => entry.held === held).map(({ path }) => path);

type Sources = Pick<RunOptions, "data" | "val" | "seed">;

/** Makes sources independent of the working folder, so that a run finds its pictures from anywhere. */
export function absolute<T extends Pick<RunOptions, "data" | "val">>(sources: T): T {
  const { data, val } = sources;
  return {
    ...sources,
    data: data.map((one) => resolve(one)),
    val: typeof val === "string" ? resolve(val) : val,
  };
}

/**
 * Lists the pictures of a run.
 * @param before the pictures that the run had before. Where `val` is a fraction, those for validation stay it, so that none of
 * them is learnt from.
 * @param isSameVal whether `val` is as before, so that no others join them but a fraction of the new pictures
 * @throws if there are none, or none to train on
 */
export async function listPictures(
  sources: Sources,
  before: PictureList | null = null,
  isSameVal = false,
  watch: ListOptions = {},
): Promise<PictureList> {
  const { data, val, seed } = sources;
  const paths = await listImages(data, watch);
  if (typeof val === "string") {
    const held = await listImages(val, watch);
    return await listOf(paths, held, before ? learntFrom(held, before) : 0);
  }
  const share = val ?? defaultShare(paths.length);
  const { held, learnt } = share === 0
    ? { held: new Set<string>(), learnt: 0 }
    : choose(paths, share, seed, before, isSameVal);
  return await listOf(
    paths.filter((path) => !held.has(path)),
    paths.filter((path) => held.has(path)),
    learnt,
  );
}

/** By default a tenth of the pictures is kept back, but at most this many, because each measurement goes through all of them. */
const mostHeld = 24;

/** Fewer pictures than this are all learnt from, unless `val` says otherwise. */
const fewest = 5;

function defaultShare(count: number): number {
  return count < fewest ? 0 : Math.min(0.1, mostHeld / count);
}

/** Chooses pictures for validation: those of before, then new ones, and only then those that were learnt from. */
function choose(
  paths: readonly string[],
  val: number,
  seed: number,
  before: PictureList | null,
  isSameVal: boolean,
): { held: Set<string>; learnt: number } {
  const names = namesOf(before?.entries.map(({ path }) => path) ?? [], paths);
  const roles = new Map(before?.entries.map(({ path, held }) => [names.of(path), held]));
  const order = [...new Random(seed).fork("validation").shuffle(paths.length)].map((i) => paths[i]);
  const inRole = (role: boolean | undefined) => order.filter((path) => roles.get(names.of(path)) === role);
  const held = inRole(true), fresh = inRole(undefined), learnt = inRole(false);
  const count = isSameVal && held.length > 0
    ? held.length + Math.round(val * fresh.length)
    : Math.max(1, Math.round(val * paths.length));
  return {
    held: new Set([...held, ...fresh, ...learnt].slice(0, count)),
    learnt: Math.max(0, count - held.length - fresh.length),
  };
}

/** How many of the pictures for validation were learnt from before. */
function learntFrom(held: readonly string[], before: PictureList): number {
  const learnt = new Set(pathsOf(before, false));
  return held.filter((path) => learnt.has(path)).length;
}

async function listOf(
  train: readonly string[],
  held: readonly string[],
  learnt: number,
): Promise<PictureList> {
  const apart = await keptApart(train, held);
  const entries: RunPicture[] = [];
  const all = [
    ...apart.train.map((path) => ({ path, held: false })),
    ...apart.held.map((path) => ({ path, held: true })),
  ];
  for (let start = 0; start < all.length; start += 64) {
    entries.push(...await Promise.all(all.slice(start, start + 64).map(look)));
  }
  return {
    ...listed(entries),
    learnt: apart.isLearnt ? apart.held.length : learnt,
    shared: train.length - apart.train.length,
  };
}

/**
 * Leaves out of `train` what is in `held`, also under another path, so that no validation picture is learnt from; and measures
 * no picture twice. If nothing would be left to train on, the pictures are learnt from all the same.
 */
async function keptApart(
  train: readonly string[],
  held: readonly string[],
): Promise<{ train: readonly string[]; held: readonly string[]; isLearnt: boolean }> {
  if (held.length === 0) return { train, held, isLearnt: false };
  if (train.length === 0) {
    throw new Error(
      `keeping ${held.length} of ${held.length} pictures for validation leaves none to train on`,
    );
  }
  const names = await contentNames([...train, ...held]);
  const measured = new Map(held.map((path) => [names.get(path), path]));
  const others = train.filter((path) => !measured.has(names.get(path)));
  const isLearnt = others.length === 0;
  return { train: isLearnt ? train : others, held: [...measured.values()], isLearnt };
}

async function look({ path, held }: Pick<RunPicture, "path" | "held">): Promise<RunPicture> {
  const { size = null, mtimeMs = null } = await stat(path).catch(
    () => ({} as { size?: number; mtimeMs?: number }),
  );
  return { path, bytes: size, modified: mtimeMs === null ? null : Math.floor(mtimeMs), held };
}

function listed(entries: readonly RunPicture[]): Omit<PictureList, "learnt" | "shared"> {
  const text = entries.map(({ path, bytes, modified, held }) =>
    `${JSON.stringify({ path, bytes, modified, held })}\n`
  ).join("");
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 16);
  const held = entries.filter((entry) => entry.held).length;
  return { entries, text, hash, train: entries.length - held, held };
}

/** Says what is special about a list. */
export function describeList(
  { shared, learnt, train, held }: PictureList,
  val: RunOptions["val"],
): RunNote[] {
  const notes: RunNote[] = [];
  if (learnt > 0) {
    const text =
      `warning: the run learns, or has learnt, from ${learnt} of the ${held} validation pictures, ` +
      "so they make it look better than it is";
    notes.push({ kind: "warning", text });
  }
  if (shared > 0) {
    const text = `${shared} of the pictures to train on ${shared === 1 ? "is" : "are"} left out: ` +
      `the same pictures are among the ${held} kept back for validation`;
    notes.push({ kind: "shared", count: shared, text });
  }
  if (held === 0 && val === null) {
    const text = `none of the ${train} pictures is kept back, because there are fewer than ${fewest}: ` +
      "the numbers below do not say how the model does on other pictures";
    notes.push({ kind: "warning", text });
  }
  return notes;
}

/** Reads a list that was kept. @returns null if it is not the list with this hash */
export function parsePictures(text: string | null, hash: string): PictureList | null {
  if (text === null) return null;
  const entries = text.split("\n").filter((line) => line !== "").map((line) => jsonRecord(line));
  const isWhole = entries.every((entry) =>
    typeof entry?.path === "string" && [entry.bytes, entry.modified].every((n) =>
      n === null || Number.isFinite(n)
    ) &&
    typeof entry.held === "boolean"
  );
  const list = isWhole ? listed(entries as unknown as RunPicture[]) : null;
  return list?.hash === hash ? { ...list, learnt: 0, shared: 0 } : null;
}

/** How the pictures of a run differ from those that it had before. The lists have names. */
export interface Differences {
  readonly added: readonly string[];
  readonly gone: readonly string[];
  /** Pictures whose file has another size or, at the same place, another date. */
  readonly changed: readonly string[];
  /** Whether the pictures to train on have the same names in the same order, so that the order can be continued. */
  readonly isSameOrder: boolean;
  /** Whether the pictures for validation are the same, so that measurements can be compared. */
  readonly isSameValidation: boolean;
  /** Returns where a picture of before is now. */
  readonly now: (path: string) => string | undefined;
}

/** Compares two lists. If no path is the same, the pictures were moved, and their names below their folders are compared. */
export function compare(before: PictureList, now: PictureList): Differences {
  const names = namesOf(before.entries.map(({ path }) => path), now.entries.map(({ path }) => path));
  const byName = (list: PictureList) => new Map(list.entries.map((entry) => [names.of(entry.path), entry]));
  const old = byName(before), fresh = byName(now);
  const hasChanged = (a: RunPicture, b: RunPicture) =>
    a.bytes !== b.bytes || !names.areMoved && a.modified !== b.modified;
  const inOrder = (list: PictureList, held: boolean) => pathsOf(list, held).map(names.of).join("\0");
  const changed = [...old].filter(([name, entry]) => fresh.has(name) && hasChanged(entry, fresh.get(name)!));
  return {
    added: [...fresh.keys()].filter((name) => !old.has(name)).sort(),
    gone: [...old.keys()].filter((name) => !fresh.has(name)).sort(),
    changed: changed.map(([name]) => name).sort(),
    isSameOrder: inOrder(before, false) === inOrder(now, false),
    isSameValidation: inOrder(before, true) === inOrder(now, true) && !changed.some(([, { held }]) => held),
    now: (path) => fresh.get(names.of(path))?.path,
  };
}

/** Returns how pictures are named in two lists: by what follows the folder of all of them or, if they were moved, of their list. */
function namesOf(
  before: readonly string[],
  now: readonly string[],
): { of: (path: string) => string; areMoved: boolean } {
  const old = new Set(before);
  const areMoved = before.length > 0 && !now.some((path) => old.has(path));
  const folders = areMoved
    ? [commonFolder(before), commonFolder(now)]
    : Array(2).fill(commonFolder([...before, ...now]));
  return { of: (path) => path.slice((old.has(path) ? folders[0] : folders[1]).length), areMoved };
}

/** The deepest folder that holds all the files, with a separator at its end. */
function commonFolder(paths: readonly string[]): string {
  const within = (folder: string) => folder.endsWith(sep) ? folder : folder + sep;
  let common = dirname(paths[0]);
  for (const path of paths) {
    while (!path.startsWith(within(common)) && dirname(common) !== common) common = dirname(common);
  }
  return within(common);
}

/** Says how pictures differ, with the first few names: "2 added (b.jpg, c.jpg), 1 gone (a.jpg)"; "" if they do not. */
export function describeDifferences({ added, gone, changed }: Differences): string {
  const parts: [readonly string[], string][] = [
    [added, "added"],
    [gone, "gone"],
    [changed, "with another size or date"],
  ];
  return parts.filter(([names]) => names.length > 0).map(([names, what]) => {
    const few = names.slice(0, 3).map((name) => printable(name.length > 60 ? `...${name.slice(-57)}` : name));
    return `${names.length} ${what} (${few.join(", ")}${names.length > 3 ? ", ..." : ""})`;
  }).join(", ");
}
