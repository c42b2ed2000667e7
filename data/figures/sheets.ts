// Puts many pictures on one sheet: grids, labelled columns side by side, and tokens as coloured tiles.
import { checkOptions, flag, isWhole, rule, type Rules, texts, whole } from "../../src/check.ts";
import { checkPicture, cropPicture, Picture } from "../pictures/picture.ts";
import { renderSvg, textPen } from "./svg.ts";

/** How pictures are laid out on a sheet. */
export interface GridOptions {
  /** The number of pictures in a row. Default: the square root of their number, rounded up. */
  readonly columns?: number;
  /** The space between and around the pictures in pixels. Default 2. */
  readonly padding?: number;
  /** The grey level of that space, 0 to 255. Default 255, which is white. */
  readonly background?: number;
}

const gridRules: Rules<GridOptions> = {
  columns: whole(1),
  padding: whole(0),
  background: rule("a grey level from 0 to 255", (level) => isWhole(level) && level <= 255),
};

/** An empty sheet of one grey level. */
function blank(width: number, height: number, level: number): Picture {
  return new Picture(width, height, new Uint8Array(width * height * 3).fill(level));
}

function paste(sheet: Picture, picture: Picture, left: number, top: number): void {
  const length = picture.width * 3;
  for (let row = 0; row < picture.height; row++) {
    const from = row * length;
    sheet.pixels.set(picture.pixels.subarray(from, from + length), ((top + row) * sheet.width + left) * 3);
  }
}

/** Each pixel as a square of `times` x `times` pixels. */
export function enlarge({ width, height, pixels }: Picture, times: number): Picture {
  const out = new Uint8Array(width * height * 3 * times * times);
  for (let y = 0; y < height * times; y++) {
    for (let x = 0; x < width * times; x++) {
      const from = 3 * (Math.floor(y / times) * width + Math.floor(x / times));
      out.set(pixels.subarray(from, from + 3), 3 * (y * width * times + x));
    }
  }
  return new Picture(width * times, height * times, out);
}

/**
 * Lays pictures out in rows. Every cell is as large as the largest picture; smaller pictures are centred in their
 * cells.
 * @throws if there are no pictures, or one has the wrong number of bytes
 * @example A sheet of faces
 * ```ts
 * import { grid, listImages, readImage, savePng } from "@tessera/vqgan";
 *
 * const faces = await Promise.all((await listImages("faces/")).map((path) => readImage(path)));
 * await savePng("sheet.png", grid(faces, { columns: 8 }));
 * ```
 */
export function grid(pictures: readonly Picture[], options: GridOptions = {}): Picture {
  checkOptions("grid", options, gridRules);
  for (const picture of pictures) checkPicture("grid", picture);
  if (pictures.length === 0) throw new Error("grid: there are no pictures to lay out");
  const { padding = 2, background = 255 } = options;
  const columns = Math.min(options.columns ?? Math.ceil(Math.sqrt(pictures.length)), pictures.length);
  const rows = Math.ceil(pictures.length / columns);
  const width = pictures.reduce((most, picture) => Math.max(most, picture.width), 0);
  const height = pictures.reduce((most, picture) => Math.max(most, picture.height), 0);
  const sheet = blank(columns * (width + padding) + padding, rows * (height + padding) + padding, background);
  pictures.forEach((picture, i) => {
    const left = padding + (i % columns) * (width + padding) + ((width - picture.width) >> 1);
    const top = padding + Math.floor(i / columns) * (height + padding) + ((height - picture.height) >> 1);
    paste(sheet, picture, left, top);
  });
  return sheet;
}

/** How `sideBySide` lays pictures out. The number of columns follows from the rows. */
export interface SideBySideOptions extends Omit<GridOptions, "columns"> {
  /** The label above each column. */
  readonly labels?: readonly string[];
}

const sideRules: Rules<SideBySideOptions> = {
  padding: gridRules.padding,
  background: gridRules.background,
  labels: texts,
};

/**
 * Lays out rows of pictures that belong together, such as [original, before, after], with a label above each column.
 * All rows must have the same number of pictures: with labels, one for each label.
 * @throws if a row has a different number
 * @example A picture next to its mirror image
 * ```ts
 * import { flipPicture, readImage, savePng, sideBySide } from "@tessera/vqgan";
 *
 * const face = await readImage("face.jpg", { size: 128 });
 * await savePng("pair.png", await sideBySide([[face, flipPicture(face)]], { labels: ["left", "right"] }));
 * ```
 */
export async function sideBySide(
  rows: readonly (readonly Picture[])[],
  options: SideBySideOptions = {},
): Promise<Picture> {
  checkOptions("sideBySide", options, sideRules);
  const { labels, padding = 4, background } = options;
  const columns = labels?.length ?? rows[0]?.length ?? 0;
  rows.forEach((row, i) => {
    if (row.length !== columns) {
      throw new Error(`sideBySide: row ${i} has ${row.length} pictures, expected ${columns}`);
    }
  });
  const body = grid(rows.flat(), { background, padding, columns });
  if (labels === undefined) return body;
  const pen = await textPen();
  const cell = (body.width - padding) / columns;
  const size = Math.max(9, Math.min(20, cell / 9)), band = Math.round(size * 1.9);
  const names = labels.map((label, i) => {
    const middle = padding / 2 + (i + 0.5) * cell;
    return pen.draw(label, middle, band - size * 0.45, {
      size,
      anchor: "middle",
      maxWidth: cell - 2 * padding,
    });
  });
  const sheet = blank(body.width, band + body.height, 255);
  paste(sheet, await renderSvg(names.join(""), body.width, band), 0, 0);
  paste(sheet, body, 0, band);
  return sheet;
}

/**
 * Cuts a sheet of equally large pictures apart, in the order in which `sideBySide` laid them out without labels.
 * @throws if the sheet cannot have so many rows and columns
 */
export function cutGrid(sheet: Picture, rows: number, columns: number, padding: number = 4): Picture[] {
  const width = (sheet.width - padding) / columns - padding,
    height = (sheet.height - padding) / rows - padding;
  if (!isWhole(width) || !isWhole(height) || width * height === 0) {
    throw new Error(
      `cutGrid: a sheet of ${sheet.width}x${sheet.height} does not have ${rows}x${columns} pictures`,
    );
  }
  return Array.from({ length: rows * columns }, (_, i) => {
    const left = padding + (i % columns) * (width + padding);
    const top = padding + Math.floor(i / columns) * (height + padding);
    return cropPicture(sheet, left, top, width, height);
  });
}

/**
 * The colour of a code. It depends only on the code's number, and consecutive codes get very different colours: M.
 * Roberts' R3 low-discrepancy sequence (steps 1/g, 1/g^2, 1/g^3 with g^4 = g + 1) walks through hue, saturation and
 * lightness.
 */
export function codeColor(code: number): [red: number, green: number, blue: number] {
  const along = (step: number) => (0.5 + code * step) % 1;
  const hue = along(0.8191725134) * 12;
  const saturation = 0.45 + 0.4 * along(0.6710436067), lightness = 0.4 + 0.35 * along(0.5497004779);
  const swing = saturation * Math.min(lightness, 1 - lightness);
  const channel = (n: number) => {
    const k = (n + hue) % 12;
    return Math.round(255 * (lightness - swing * Math.max(-1, Math.min(k - 3, 9 - k, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}

/** How `tokenGrid` draws tokens. */
export interface TokenGridOptions {
  /** The side of a tile in pixels. Default 16, which makes the sheet as large as the picture of an f16 model. */
  readonly tile?: number;
  /** Writes each code's number into its tile, which should have 24 pixels or more. */
  readonly numbers?: boolean;
}

/**
 * Draws the tokens of a picture as coloured tiles, one per token, in raster order.
 * @param indices height * width code numbers
 * @throws if there are more or fewer
 * @example Four tokens
 * ```ts
 * import { savePng, tokenGrid } from "@tessera/vqgan";
 *
 * await savePng("tokens.png", await tokenGrid([7, 1, 7, 401], [2, 2], { tile: 32, numbers: true }));
 * ```
 */
export async function tokenGrid(
  indices: ArrayLike<number>,
  [rows, columns]: readonly [rows: number, columns: number],
  options: TokenGridOptions = {},
): Promise<Picture> {
  checkOptions("tokenGrid", options, { tile: whole(1), numbers: flag });
  const { tile = 16, numbers = false } = options;
  if (indices.length !== rows * columns) {
    throw new Error(
      `tokenGrid: ${indices.length} indices for ${rows}x${columns} tiles, expected ${rows * columns}`,
    );
  }
  const pen = numbers ? await textPen() : undefined;
  const marks: string[] = [];
  for (let i = 0; i < indices.length; i++) {
    const x = (i % columns) * tile, y = Math.floor(i / columns) * tile;
    const [red, green, blue] = codeColor(indices[i]);
    marks.push(`<path fill="rgb(${red},${green},${blue})" d="M${x} ${y}h${tile}v${tile}h-${tile}z"/>`);
    if (pen === undefined) continue;
    const color = 0.299 * red + 0.587 * green + 0.114 * blue > 130 ? "#111" : "#fff";
    const size = tile * 0.3;
    const style = { size, color, anchor: "middle", maxWidth: tile * 0.88 } as const;
    marks.push(pen.draw(String(indices[i]), x + tile / 2, y + tile / 2 + size * 0.36, style));
  }
  return await renderSvg(marks.join(""), columns * tile, rows * tile);
}
