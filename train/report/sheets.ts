// The sheets of pictures in a run's images/: step-000250.png has samples above their reconstructions, worst-000250.png the
// pictures that came back worst. A file of the same name that ends in .json says which pictures they are.
import { open, readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

/** The two kinds of sheets. */
export type SheetKind = "step" | "worst";

/** A picture of a sheet. */
export interface SheetEntry {
  /** The path of the picture. */
  readonly path: string;
  /** How close its reconstruction is, in dB; null if the two are equal. */
  readonly psnr: number | null;
}

/** A sheet: a row of originals above a row of reconstructions. */
export interface Sheet {
  /** Samples, or the pictures that came back worst. */
  readonly kind: SheetKind;
  /** The number of steps done. */
  readonly step: number;
  /** The name of its file in images/. */
  readonly file: string;
  /** Tells this version of the file from others of the same name. */
  readonly version: string;
  /** The width of the whole sheet in pixels. */
  readonly width: number;
  /** The height of the whole sheet in pixels. */
  readonly height: number;
  /** The number of pictures. */
  readonly columns: number;
  /** Which pictures they are, from left to right; null if nothing says so. */
  readonly entries: readonly SheetEntry[] | null;
}

/** The pixels between the pictures of a sheet and around them. */
export const sheetPadding = 4;

/** Returns the name of a sheet without its ending: step-000250. */
export function sheetName(kind: SheetKind, step: number): string {
  return `${kind}-${String(step).padStart(6, "0")}`;
}

/** Returns what the name of a sheet, or of the file beside it, says; null if it is the name of something else. */
export function parseSheetName(name: string): { kind: SheetKind; step: number } | null {
  const [, kind, step] = /^(step|worst)-(\d{6,15})\.(?:png|json)$/.exec(name) ?? [];
  return kind === undefined ? null : { kind: kind as SheetKind, step: Number(step) };
}

/** Looks at the sheets of one run, of which it reads only the headers, and each only once. */
export class SheetReader {
  readonly #folder: string;
  #known = new Map<string, Sheet>();

  /** @param run the folder of the run */
  constructor(run: string) {
    this.#folder = join(run, "images");
  }

  /** Returns the sheets by kind and step. Files that are no sheets are left out. */
  async list(): Promise<Sheet[]> {
    const names = await readdir(this.#folder).catch(() => []);
    const found = new Map<string, Sheet>();
    for (const file of names) {
      const is = parseSheetName(file);
      if (!is || !file.endsWith(".png")) continue;
      const path = join(this.#folder, file), info = await stat(path).catch(() => null);
      if (!info?.isFile()) continue;
      const version = `${Math.round(info.mtimeMs)}-${info.size}`, before = this.#known.get(file);
      const sheet = before?.version === version ? before : await look(path, { ...is, file, version });
      if (sheet) found.set(file, sheet);
    }
    this.#known = found;
    return [...found.values()].sort((a, b) => a.kind < b.kind ? -1 : a.kind > b.kind ? 1 : a.step - b.step);
  }
}

async function look(
  path: string,
  { kind, step, file, version }: Pick<Sheet, "kind" | "step" | "file" | "version">,
): Promise<Sheet | null> {
  const handle = await open(path, "r").catch(() => null);
  if (!handle) return null;
  const header = new Uint8Array(24);
  try {
    if ((await handle.read(header, 0, 24, 0)).bytesRead < 24) return null;
  } finally {
    await handle.close();
  }
  const view = new DataView(header.buffer);
  if (view.getUint32(0) !== 0x89504e47 || view.getUint32(12) !== 0x49484452) return null; // PNG, IHDR
  const width = view.getUint32(16), height = view.getUint32(20);
  const side = (height - sheetPadding) / 2 - sheetPadding; // a run's pictures are squares
  const columns = (width - sheetPadding) / (side + sheetPadding);
  if (!Number.isInteger(columns) || columns < 1 || columns > 64) return null;
  const entries = await readEntries(path.replace(/png$/, "json"), columns);
  return { kind, step, file, version, width, height, columns, entries };
}

async function readEntries(path: string, columns: number): Promise<SheetEntry[] | null> {
  try {
    const { pictures } = JSON.parse(await readFile(path, "utf8")) as { pictures: SheetEntry[] };
    const isWhole = pictures.length === columns &&
      pictures.every(({ path, psnr }) =>
        typeof path === "string" && (psnr === null || typeof psnr === "number")
      );
    return isWhole ? pictures : null;
  } catch {
    return null; // older runs have no such file
  }
}
