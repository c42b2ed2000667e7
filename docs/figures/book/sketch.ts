// A sheet on which the figures of the book are drawn: text, shapes and enlarged pictures. It becomes a picture of pixels, so
// that it looks the same everywhere.
import { Buffer } from "node:buffer";
import { encodePng, Picture } from "../../../mod.ts";
import { enlarge } from "../../../data/figures/sheets.ts";
import { renderSvg, type TextOptions, type TextPen, textPen } from "../../../data/figures/svg.ts";

/** The colours of the book's figures. */
export const palette = {
  ink: "#222",
  soft: "#777",
  faint: "#ddd",
  red: "#c8443c",
  green: "#3c8f4e",
  blue: "#2d6fb5",
  orange: "#d98a1f",
};

/** Numbers as a picture: `color` is called with each of them, row by row. */
export function pictureOf(
  values: ArrayLike<number>,
  width: number,
  color: (value: number) => readonly [red: number, green: number, blue: number],
): Picture {
  const pixels = new Uint8Array(values.length * 3);
  for (let i = 0; i < values.length; i++) pixels.set(color(values[i]), 3 * i);
  return new Picture(width, values.length / width, pixels);
}

/** From white over yellow and red to black, for values from 0 to 1. */
export function heat(value: number): [red: number, green: number, blue: number] {
  const t = Math.min(1, Math.max(0, value)) * 3;
  const fall = (from: number) => Math.round(255 * Math.min(1, Math.max(0, from + 1 - t)));
  return [fall(2), fall(1), fall(0)];
}

/** From blue over white to red, for values from -1 to 1. */
export function redOrBlue(value: number): [red: number, green: number, blue: number] {
  const t = Math.min(1, Math.max(-1, value)), rest = Math.round(255 * (1 - Math.abs(t)));
  return t > 0 ? [255, rest, rest] : [rest, rest, 255];
}

/** A white sheet. What is drawn later covers what was drawn before. */
export class Sketch {
  readonly width: number;
  readonly height: number;
  readonly #marks: string[] = [];
  readonly #pen: TextPen;

  private constructor(width: number, height: number, pen: TextPen) {
    this.width = width;
    this.height = height;
    this.#pen = pen;
  }

  static async of(width: number, height: number): Promise<Sketch> {
    return new Sketch(width, height, await textPen());
  }

  /** Markup of SVG. */
  add(...marks: string[]): void {
    this.#marks.push(...marks);
  }

  text(text: string, x: number, baseline: number, options: TextOptions = {}): void {
    this.add(this.#pen.draw(text, x, baseline, { size: 14, color: palette.ink, ...options }));
  }

  /** A line through points. */
  line(points: readonly (readonly [x: number, y: number])[], color: string = palette.ink, width = 2): void {
    const path = points.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ");
    this.add(`<polyline fill="none" stroke="${color}" stroke-width="${width}" points="${path}"/>`);
  }

  /** An arrow from one point to another. */
  arrow(x: number, y: number, toX: number, toY: number, color: string = palette.ink): void {
    const angle = Math.atan2(toY - y, toX - x);
    const tip = [0.4, -0.4].map((turn) => {
      return `L${toX} ${toY}l${-9 * Math.cos(angle + turn)} ${-9 * Math.sin(angle + turn)}`;
    });
    this.add(
      `<path fill="none" stroke="${color}" stroke-width="2" d="M${x} ${y}${tip.join(`M${toX} ${toY}`)}"/>`,
    );
  }

  dot(x: number, y: number, color: string = palette.ink, radius = 4): void {
    this.add(`<circle cx="${x.toFixed(2)}" cy="${y.toFixed(2)}" r="${radius}" fill="${color}"/>`);
  }

  /** A frame, or a filled rectangle. */
  box(x: number, y: number, width: number, height: number, color: string = palette.ink, fill = "none"): void {
    this.add(
      `<rect x="${x}" y="${y}" width="${width}" height="${height}" stroke="${color}" fill="${fill}"/>`,
    );
  }

  /** A picture, `times` as large. Whole numbers show the pixels as squares, others smooth them. */
  async picture(picture: Picture, x: number, y: number, times = 1): Promise<void> {
    const { width, height } = picture;
    const bytes = await encodePng(Number.isInteger(times) ? enlarge(picture, times) : picture);
    const at = `x="${x}" y="${y}" width="${width * times}" height="${height * times}"`;
    this.add(`<image ${at} href="data:image/png;base64,${Buffer.from(bytes).toString("base64")}"/>`);
  }

  async render(): Promise<Picture> {
    return await renderSvg(this.#marks.join(""), this.width, this.height);
  }
}
