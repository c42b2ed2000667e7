// Plotting curves.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  formatTick,
  niceTicks,
  type Panel,
  plotCurves,
  smooth,
  valueAxis,
} from "../../../data/figures/plot.ts";
import { readImage, savePng } from "../../../data/index.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "tessera-plot-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("plotCurves", () => {
  test("returns a picture of the requested size that has the curves' colours", async () => {
    const steps = Array.from({ length: 400 }, (_, i) => i);
    const values = steps.map((step) => Math.exp(-step / 100) + 0.01);
    const panel: Panel = { title: "loss", logScale: true, series: [{ name: "rec", steps, values }] };
    const picture = await plotCurves([panel, { series: [{ name: "flat", steps: [0, 1], values: [2, 2] }] }], {
      width: 640,
      height: 600,
    });
    expect([picture.width, picture.height]).toEqual([640, 600]);
    const path = join(folder, "plot.png");
    await savePng(path, picture);
    const { pixels } = await readImage(path);
    let blue = 0;
    for (let i = 0; i < pixels.length; i += 3) if (pixels[i] === 0 && pixels[i + 1] === 0x72) blue++;
    expect(blue > 500).toBe(true);
  });

  test("draws no points, one point, gaps, zeros on a log axis and a million points", async () => {
    const many = Float32Array.from({ length: 1_000_000 }, (_, i) => Math.sin(i / 1e5));
    const cases: Panel[] = [
      { series: [] },
      { series: [{ name: "none", steps: [], values: [] }], logScale: true },
      { series: [{ name: "one", steps: [4], values: [0] }] },
      { series: [{ name: "gaps", steps: [0, 1, 2, 3], values: [NaN, 1, Infinity, 0] }], logScale: true },
      { series: [{ name: "many", steps: many.map((_, i) => i), values: many }] },
    ];
    for (const panel of cases) {
      expect((await plotCurves([panel], { width: 300, height: 200 })).width).toBe(300);
    }
    await expect(plotCurves([{ series: [{ name: "bad", steps: [1], values: [] }] }])).rejects.toThrow(
      'series "bad" has 1 steps and 0 values',
    );
  });

  test("smooths without lag, and makes round ticks", () => {
    expect(smooth([1, 2, 3], 0)).toEqual([1, 2, 3]);
    expect(smooth([5, 5, 5], 0.9).every((value) => Math.abs(value - 5) < 1e-12)).toBe(true);
    const [, middle] = smooth([1, 2, 6], 0.5); // (0.5 * 1 + 2 + 0.5 * 6) / 2
    expect(middle).toBeCloseTo(2.75, 12);
    expect(niceTicks(0, 1, 5)).toEqual([0, 0.2, 0.4, 0.6, 0.8, 1]);
    expect(niceTicks(-7, 23, 4)).toEqual([0, 10, 20]);
    expect([0, 0.25, 1500, 20000, 2.5e6, 0.00012].map(formatTick)).toEqual([
      "0",
      "0.25",
      "1500",
      "20k",
      "2.5M",
      "1.2e-4",
    ]);
  });
});

describe("valueAxis", () => {
  const height = (values: number[], logScale = false) => {
    const { low, high } = valueAxis([values], values, logScale);
    return high - low;
  };

  test("draws a change of 0.03 dB in 24.6 dB as at most a thirtieth of the height", () => {
    expect(0.03 / height([24.6, 24.63]) < 1 / 30).toBe(true);
  });

  test("lets a change of more than a twentieth fill the height", () => {
    expect(2 / height([20, 22]) > 0.9).toBe(true);
    expect(0.1 / height([0.3, 0.2]) > 0.85).toBe(true);
  });

  test("stays at or above 0 if all values do, and contains all values", () => {
    for (const values of [[0, 1e-3], [0.5, 0.5], [1e-6, 1.01e-6], [-3, -3.001], [0, 0]]) {
      const { low, high } = valueAxis([values], values, false);
      expect(low <= Math.min(...values) && high >= Math.max(...values)).toBe(true);
      if (Math.min(...values) >= 0) expect(low >= 0).toBe(true);
    }
  });
});
