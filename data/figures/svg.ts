// Renders SVG to pixels. Text is drawn as outlines, so that the picture is the same on machines without fonts. The font
// is B612 (made for cockpit displays: clear when small, digits of equal width), read with opentype.js. The files
// fonts/*.woff are from npm's @fontsource/b612 5.3.0.
import type { Font, PathCommand } from "opentype.js";
import { readAsset } from "../files/asset.ts";
import { Picture } from "../pictures/picture.ts";
import { loadSharp } from "../pictures/sharp.ts";

export interface TextOptions {
  readonly size?: number;
  readonly color?: string;
  readonly anchor?: "start" | "middle" | "end";
  readonly bold?: boolean;
  /** The text is made smaller if it would be wider than this. */
  readonly maxWidth?: number;
}

/**
 * Draws text for an SVG. It is synchronous, so that a picture can be built piece by piece.
 */
export interface TextPen {
  /** Returns the markup of one path. */
  draw(text: string, x: number, baseline: number, options?: TextOptions): string;
  width(text: string, size: number, bold?: boolean): number;
}

let pen: Promise<TextPen> | undefined;

async function loadFont(weight: 400 | 700): Promise<Font> {
  const url = new URL(`fonts/b612-latin-${weight}-normal.woff`, import.meta.url);
  const [bytes, { default: opentype }] = await Promise.all([readAsset(url), import("opentype.js")]);
  return opentype.parse(bytes.buffer);
}

/** Returns SVG path data. The toPathData() of opentype.js 2.0.0 joins some numbers (a 0 and the number after it). */
function pathData(commands: readonly PathCommand[]): string {
  return commands.map((command) => {
    const { type, ...points } = command;
    const { x1, y1, x2, y2, x, y } = points as Partial<Record<string, number>>;
    const numbers = [x1, y1, x2, y2, x, y].filter((value) => value !== undefined);
    return type + numbers.map((value) => value.toFixed(2)).join(" ");
  }).join("");
}

async function makePen(): Promise<TextPen> {
  const [regular, bold] = await Promise.all([loadFont(400), loadFont(700)]);
  const fontOf = (isBold?: boolean) => isBold ? bold : regular;
  return {
    width: (text, size, isBold) => fontOf(isBold).getAdvanceWidth(text, size),
    draw(text, x, baseline, options = {}) {
      const { color = "#222", anchor = "start", maxWidth = Infinity } = options;
      const font = fontOf(options.bold);
      const full = font.getAdvanceWidth(text, options.size ?? 12);
      const size = (options.size ?? 12) * Math.min(1, maxWidth / full);
      const width = Math.min(full, maxWidth);
      const shift = anchor === "middle" ? width / 2 : anchor === "end" ? width : 0;
      const place = `translate(${x.toFixed(2)} ${baseline.toFixed(2)})`;
      return `<path transform="${place}" fill="${color}" d="${
        pathData(font.getPath(text, -shift, 0, size).commands)
      }"/>`;
    },
  };
}

/** Returns the pen that draws text. The font files are read only once. */
export function textPen(): Promise<TextPen> {
  return pen ??= makePen();
}

/** Renders the content of an SVG of the given size, on a white background. */
export async function renderSvg(
  body: string,
  width: number,
  height: number,
  viewBox?: string,
): Promise<Picture> {
  const head = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"`;
  const svg = `${head} viewBox="${viewBox ?? `0 0 ${width} ${height}`}">${body}</svg>`;
  const sharp = await loadSharp();
  const { data, info } = await sharp(new TextEncoder().encode(svg)).flatten({ background: "#fff" })
    .toColourspace("srgb").raw().toBuffer({ resolveWithObject: true });
  return new Picture(info.width, info.height, new Uint8Array(data));
}
