// Makes small versions of the sheets of pictures, for a page that has everything inside itself.
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { loadSharp } from "../../data/pictures/sharp.ts";
import { type Sheet, sheetPadding } from "./sheets.ts";

/** The most steps of which the page has the samples: the first, the last, and others evenly between them. */
const mostSteps = 12;
/** The largest side of a picture in pixels. */
const mostPixels = 128;

/** Returns the sheets that a page has inside: samples of at most 12 steps, and the worst pictures of the last measurement. */
export function chosenSheets(sheets: readonly Sheet[]): Sheet[] {
  const samples = sheets.filter(({ kind }) => kind === "step");
  const worst = sheets.findLast(({ kind }) => kind === "worst");
  const count = Math.min(mostSteps, samples.length);
  const places = Array.from(
    { length: count },
    (_, i) => Math.round(i * (samples.length - 1) / (count - 1 || 1)),
  );
  return [...places.map((place) => samples[place]), ...worst ? [worst] : []];
}

/** Small versions of sheets as data: addresses. Each is made once. */
export class Thumbnails {
  readonly #folder: string;
  #made = new Map<string, string>();

  /** @param run the folder of the run */
  constructor(run: string) {
    this.#folder = join(run, "images");
  }

  /** Makes what is missing. @returns the address of each sheet that could be read */
  async make(sheets: readonly Sheet[]): Promise<ReadonlyMap<string, string>> {
    const made = new Map<string, string>();
    for (const sheet of sheets) {
      const key = keyOf(sheet);
      const address = this.#made.get(key) ?? await this.#shrunk(sheet).catch(() => null);
      if (address !== null) made.set(key, address);
    }
    this.#made = made;
    return made;
  }

  async #shrunk({ file, width, height }: Sheet): Promise<string> {
    const sharp = await loadSharp(), side = (height - sheetPadding) / 2 - sheetPadding;
    const image = sharp(await readFile(join(this.#folder, file)));
    if (side > mostPixels) image.resize(Math.round(width * mostPixels / side));
    const bytes = await image.jpeg({ quality: 82, chromaSubsampling: "4:4:4" }).toBuffer();
    return `data:image/jpeg;base64,${bytes.toString("base64")}`;
  }
}

/** The name of a version of a sheet. */
export function keyOf({ file, version }: Sheet): string {
  return `${file} ${version}`;
}
