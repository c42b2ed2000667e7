// Draws curves over training steps as a PNG: the smoothed line over a faint line of the measured values, axes with
// round ticks, a legend with the last values, and a logarithmic scale on request. They are drawn as SVG, so that the
// picture is sharp at any size.
import { checkOptions, fraction, type Rules, text, whole } from "../../src/check.ts";
import type { Picture } from "../pictures/picture.ts";
import { renderSvg, type TextPen, textPen } from "./svg.ts";

/** One named curve. `steps` and `values` have equal length; values that are not finite are left out. */
export interface Series {
  /** The curve's name in the legend. */
  readonly name: string;
  /** The positions of the values on the x axis. */
  readonly steps: ArrayLike<number>;
  /** The values on the y axis. */
  readonly values: ArrayLike<number>;
}

/** One pair of axes. */
export interface Panel {
  /** The text above the axes. */
  readonly title?: string;
  /** The curves. */
  readonly series: readonly Series[];
  /** A logarithmic y axis; values of 0 and below are left out. Default false. */
  readonly logScale?: boolean;
}

/** How curves are drawn. */
export interface PlotOptions {
  /** The width of the whole picture in pixels. Default 960. */
  readonly width?: number;
  /** The height of the whole picture in pixels. Default: 420 for each row of panels. */
  readonly height?: number;
  /** The number of panels in a row. Default 1. */
  readonly columns?: number;
  /**
   * How strongly the line is smoothed, from 0 (not at all) to below 1. The default depends on the number of points.
   */
  readonly smoothing?: number;
  /** The text under the x axis. Default "step". */
  readonly xLabel?: string;
}

const rules: Rules<PlotOptions> = {
  width: whole(1),
  height: whole(1),
  columns: whole(1),
  smoothing: fraction,
  xLabel: text,
};

/** Okabe and Ito's colours, which colour-blind readers can tell apart, in an order in which neighbours contrast. */
const colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555"];
const ink = "#333", faint = "#e4e6ea";

interface Box {
  readonly left: number;
  readonly top: number;
  readonly width: number;
  readonly height: number;
}

interface Point {
  readonly step: number;
  readonly value: number;
}

/** The range of an axis and the numbers to write along it. */
interface Axis {
  readonly low: number;
  readonly high: number;
  readonly ticks: readonly number[];
}

/**
 * A moving average in both directions, so that the smoothed line does not lag behind the values:
 * s_t = sum_i b^|t-i| v_i / sum_i b^|t-i|.
 * @param keep b, from 0 (no smoothing) to below 1
 */
export function smooth(values: readonly number[], keep: number): number[] {
  const sums = new Float64Array(values.length), weights = new Float64Array(values.length);
  for (const isForward of [true, false]) {
    let sum = 0, weight = 0;
    for (let i = 0; i < values.length; i++) {
      const at = isForward ? i : values.length - 1 - i;
      sums[at] += keep * sum + (isForward ? values[at] : 0); // the point itself counts once
      weights[at] += keep * weight + (isForward ? 1 : 0);
      sum = keep * sum + values[at];
      weight = keep * weight + 1;
    }
  }
  return values.map((_, i) => sums[i] / weights[i]);
}

/** Round numbers (1, 2 or 5 times a power of ten) inside a range, about `count` of them. */
export function niceTicks(low: number, high: number, count: number): number[] {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const stride = power * (rough / power > 5 ? 10 : rough / power > 2 ? 5 : rough / power > 1 ? 2 : 1);
  const ticks: number[] = [];
  const first = Math.ceil(low / stride - 1e-9), last = Math.floor(high / stride + 1e-9);
  for (let i = first; i <= last; i++) ticks.push(Number((i * stride).toPrecision(12)));
  return ticks;
}

/** Ticks of a logarithmic axis: powers of ten, with 2 and 5 between them where there is room. */
function logTicks(low: number, high: number): number[] {
  const decades = Math.log10(high / low);
  if (decades < 0.6) return niceTicks(low, high, 6);
  const factors = decades > 3.5 ? [1] : decades > 1.2 ? [1, 2, 5] : [1, 1.5, 2, 3, 5, 7];
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
  }
  return ticks.filter((tick) => tick >= low * 0.999999 && tick <= high * 1.000001);
}

/** Formats a tick: 12,000 as 12k, 0.00012 as 1.2e-4, other numbers as they are. */
export function formatTick(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e9 || size < 1e-3) return value.toExponential().replace("e+", "e");
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(6))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(6))}k`;
  return String(Number(value.toPrecision(6)));
}

function pointsOf({ name, steps, values }: Series, logScale: boolean): Point[] {
  if (steps.length !== values.length) {
    throw new Error(`plot: series "${name}" has ${steps.length} steps and ${values.length} values`);
  }
  const points: Point[] = [];
  for (let i = 0; i < values.length; i++) {
    if (Number.isFinite(values[i]) && (!logScale || values[i] > 0)) {
      points.push({ step: steps[i], value: values[i] });
    }
  }
  return points;
}

/** The least height of a y axis, as a share of its largest value, so that tiny changes look tiny. */
const leastShare = 0.05;

/** The y axis covers every smooth line, and the measured values except the most extreme hundredth at either end. */
export function valueAxis(lines: readonly number[][], raw: readonly number[], logScale: boolean): Axis {
  const sorted = Float64Array.from(raw).sort();
  const at = (share: number) => sorted[Math.round(share * (sorted.length - 1))];
  let low = sorted.length > 0 ? at(0.01) : logScale ? 0.1 : 0, high = sorted.length > 0 ? at(0.99) : 1;
  for (const line of lines) {
    for (const value of line) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (logScale) {
    const room = high / low > 1 + leastShare ? (high / low) ** 0.05 : 1.5;
    return { low: low / room, high: high * room, ticks: logTicks(low / room, high * room) };
  }
  const missing = leastShare * Math.max(Math.abs(low), Math.abs(high)) - (high - low);
  const room = high > low ? Math.max(0.05 * (high - low), missing / 2) : Math.max(0.5, Math.abs(high) * 0.1);
  const bottom = low >= 0 && low - room < 0 ? 0 : low - room; // the axis goes below 0 only if a value does
  return { low: bottom, high: high + room, ticks: niceTicks(bottom, high + room, 6) };
}

function stepAxis(steps: readonly number[], width: number): Axis {
  let low = Infinity, high = -Infinity;
  for (const step of steps) {
    low = Math.min(low, step);
    high = Math.max(high, step);
  }
  if (low > high) [low, high] = [0, 1];
  if (low === high) [low, high] = [low - 1, high + 1];
  const ticks = niceTicks(low, high, Math.max(2, Math.round(width / 110)));
  return { low, high, ticks: ticks.filter(Number.isInteger) }; // steps are whole numbers
}

/**
 * The points of a polyline. Long lines are thinned to the low, high and last point of each half pixel, which looks the
 * same.
 */
function polyline(points: readonly (readonly [x: number, y: number])[]): string {
  const kept: (readonly [number, number])[] = [];
  for (let i = 0; i < points.length;) {
    const column = Math.round(points[i][0] * 2);
    let low = i, high = i, last = i;
    for (; i < points.length && Math.round(points[i][0] * 2) === column; i++) {
      if (points[i][1] < points[low][1]) low = i;
      if (points[i][1] > points[high][1]) high = i;
      last = i;
    }
    for (const pick of [...new Set([low, high, last])].sort((a, b) => a - b)) kept.push(points[pick]);
  }
  return kept.map(([x, y]) => `${x.toFixed(2)},${y.toFixed(2)}`).join(" ");
}

function drawPanel(panel: Panel, outer: Box, options: PlotOptions, pen: TextPen, id: string): string {
  const logScale = panel.logScale ?? false;
  const curves = panel.series.map((series, i) => {
    const points = pointsOf(series, logScale);
    // the average reaches about a hundredth of the curve either way, which removes noise and keeps the shape
    const keep = options.smoothing ?? Math.max(0, 1 - 100 / Math.max(1, points.length));
    return {
      name: series.name,
      color: colors[i % colors.length],
      points,
      line: smooth(points.map(({ value }) => value), keep),
      isSmoothed: keep > 0,
    };
  });
  const raw = curves.flatMap(({ points }) => points.map(({ value }) => value));
  const y = valueAxis(curves.map(({ line }) => line), raw, logScale);
  const labels = y.ticks.map(formatTick);
  const gutter = 26 + Math.max(...labels.map((label) => pen.width(label, 12)), 16);
  const head = (panel.title === undefined ? 12 : 34) + 24;
  const box = {
    left: outer.left + gutter,
    top: outer.top + head,
    width: outer.width - gutter - 24,
    height: 0,
  };
  box.height = outer.height - head - 50;
  const right = box.left + box.width, bottom = box.top + box.height;
  const x = stepAxis(curves.flatMap(({ points }) => points.map(({ step }) => step)), box.width);
  const scale = logScale ? Math.log : (value: number) => value;
  const toX = (step: number) => box.left + (step - x.low) / (x.high - x.low) * box.width;
  const toY = (v: number) => bottom - (scale(v) - scale(y.low)) / (scale(y.high) - scale(y.low)) * box.height;

  const marks: string[] = [];
  const { title } = panel;
  if (title !== undefined) {
    marks.push(
      pen.draw(title, box.left, outer.top + 30, { size: 16, bold: true, color: ink, maxWidth: box.width }),
    );
  }
  y.ticks.forEach((tick, i) => {
    const at = toY(tick);
    marks.push(`<path stroke="${faint}" d="M${box.left} ${at.toFixed(1)}H${right}"/>`);
    marks.push(pen.draw(labels[i], box.left - 8, at + 4, { size: 12, color: ink, anchor: "end" }));
  });
  for (const tick of x.ticks) {
    const at = toX(tick).toFixed(1);
    marks.push(
      `<path stroke="${faint}" d="M${at} ${box.top}V${bottom}"/><path stroke="#999" d="M${at} ${bottom}v5"/>`,
    );
    marks.push(
      pen.draw(formatTick(tick), toX(tick), bottom + 19, { size: 12, color: ink, anchor: "middle" }),
    );
  }
  const xLabel = options.xLabel ?? "step";
  marks.push(
    pen.draw(xLabel, box.left + box.width / 2, bottom + 38, { size: 12, color: ink, anchor: "middle" }),
  );
  const clip = `<rect x="${box.left}" y="${box.top}" width="${box.width}" height="${box.height}"/>`;
  marks.push(
    `<clipPath id="${id}">${clip}</clipPath><g clip-path="url(#${id})" fill="none" stroke-linejoin="round">`,
  );
  for (const { points, color, isSmoothed } of curves) {
    if (!isSmoothed) continue;
    const measured = polyline(points.map(({ step, value }) => [toX(step), toY(value)] as const));
    marks.push(`<polyline stroke="${color}" stroke-opacity="0.22" stroke-width="1" points="${measured}"/>`);
  }
  for (const { points, line, color } of curves) {
    const at = points.map(({ step }, i) => [toX(step), toY(line[i])] as const);
    if (at.length === 1) marks.push(`<circle cx="${at[0][0]}" cy="${at[0][1]}" r="3" fill="${color}"/>`);
    else marks.push(`<polyline stroke="${color}" stroke-width="2" points="${polyline(at)}"/>`);
  }
  marks.push(`</g><path stroke="#999" fill="none" d="M${box.left} ${box.top}V${bottom}H${right}"/>`);
  if (raw.length === 0) {
    marks.push(
      pen.draw("no values yet", box.left + box.width / 2, box.top + box.height / 2, { anchor: "middle" }),
    );
  }
  return marks.join("") + drawLegend(curves, box, pen);
}

/** Writes names and last smoothed values in one line above the axes, in smaller text if they do not fit. */
function drawLegend(
  curves: readonly { name: string; color: string; line: readonly number[] }[],
  box: Box,
  pen: TextPen,
): string {
  const gap = 20, dash = 24;
  const entries = curves.map(({ name, color, line }) => {
    const last = line[line.length - 1];
    return { color, text: last === undefined ? name : `${name} ${Number(last.toPrecision(3))}` };
  });
  const full = entries.reduce((sum, { text }) => sum + dash + pen.width(text, 13) + gap, -gap);
  const shrink = Math.min(1, box.width / full);
  let left = box.left;
  return entries.map(({ color, text }) => {
    const middle = box.top - 14, size = 13 * shrink;
    const mark =
      `<path stroke="${color}" stroke-width="3" d="M${left.toFixed(1)} ${middle}h${
        (18 * shrink).toFixed(1)
      }"/>` +
      pen.draw(text, left + dash * shrink, middle + 4.5 * shrink, { size, color: ink });
    left += (dash + gap) * shrink + pen.width(text, size);
    return mark;
  }).join("");
}

/**
 * Draws one or several panels of curves.
 * @throws Error if a series has different numbers of steps and values, or there is no panel
 * @example A loss that falls
 * ```ts
 * import { plotCurves, savePng } from "@tessera/vqgan";
 *
 * const rec = { name: "rec", steps: [0, 10, 20, 30], values: [0.4, 0.2, 0.12, 0.1] };
 * await savePng("losses.png", await plotCurves([{ title: "Losses", series: [rec], logScale: true }]));
 * ```
 */
export async function plotCurves(panels: readonly Panel[], options: PlotOptions = {}): Promise<Picture> {
  checkOptions("plotCurves", options, rules);
  if (panels.length === 0) throw new Error("plotCurves: there is no panel to draw");
  const pen = await textPen();
  const columns = Math.min(options.columns ?? 1, panels.length), rows = Math.ceil(panels.length / columns);
  const width = options.width ?? 960, height = options.height ?? 420 * rows;
  const cell = { width: width / columns, height: height / rows };
  const drawn = panels.map((panel, i) => {
    const box = { ...cell, left: (i % columns) * cell.width, top: Math.floor(i / columns) * cell.height };
    return drawPanel(panel, box, options, pen, `panel${i}`);
  });
  return await renderSvg(drawn.join(""), width, height);
}
