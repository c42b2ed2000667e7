// The map of a codebook: its axes against codes that were made along known ones, and neighbours against a full search.
import { describe, expect, test } from "bun:test";
import { CodebookMap } from "../../../nn/quantizers/codebook_map.ts";
import { VectorQuantizer } from "../../../nn/quantizers/vector_quantizer.ts";
import { Random } from "../../../src/index.ts";
import { expectClose, expectNoLeak } from "../../support/expectations.ts";
import { doubleDraws, draws } from "../../support/numbers.ts";

const loss = { beta: 0.25, legacyBeta: false };

function quantizerOf(codes: ArrayLike<number>, channels: number, normalized = false): VectorQuantizer {
  const made = new VectorQuantizer(
    codes.length / channels,
    channels,
    { ...loss, normalized },
    new Random(1),
  );
  made.codebook.write(Float32Array.from(codes));
  return made;
}

async function mapOf(quantizer: VectorQuantizer, count?: number): Promise<CodebookMap> {
  const map = await CodebookMap.of(quantizer, count);
  quantizer.dispose();
  return map;
}

describe("the map of a codebook", () => {
  // three directions at right angles, of length 1
  const directions = [[0.6, -0.8, 0, 0], [0, 0, 1, 0], [0.48, 0.36, 0, 0.8]], spreads = [5, 2, 0.5];

  test("finds the axes along which codes were spread, and their shares of the variance", () =>
    expectNoLeak(async () => {
      // a grid, so that the coordinates are not correlated
      const levels = [-1, -0.5, 0, 0.5, 1], coordinates: number[][] = [];
      for (const a of levels) for (const b of levels) for (const c of levels) coordinates.push([a, b, c]);
      const codes = coordinates.flatMap((each) =>
        [0, 1, 2, 3].map((c) =>
          7 * c + each.reduce((sum, at, axis) => sum + at * spreads[axis] * directions[axis][c], 0)
        )
      );
      const map = await mapOf(quantizerOf(codes, 4), 3);
      const variance = spreads.reduce((sum, s) => sum + s * s, 0);
      expectClose(map.mean, [0, 7, 14, 21], 1e-5);
      expectClose(map.shares, spreads.map((s) => s * s / variance), 1e-6);
      // the largest number of each axis is positive: the first direction comes out turned around
      expectClose(map.axes.flatMap((axis) => [...axis]), [
        -0.6,
        0.8,
        0,
        0,
        ...directions[1],
        ...directions[2],
      ], 1e-5);
      const places = map.places(), signs = [-1, 1, 1];
      expectClose(
        places,
        coordinates.flatMap((each) => each.map((at, i) => signs[i] * at * spreads[i])),
        1e-5,
      );
      expectClose(map.places(map.code(17)), places.subarray(51, 54), 0);
      expectClose(map.places(Float32Array.of(0, 7, 14, 21)), [0, 0, 0], 1e-5);
    }));

  test("finds the nearest codes in their order", async () => {
    const channels = 5, codes = draws("codes", 60 * channels);
    codes.copyWithin(7 * channels, 31 * channels, 32 * channels); // 7 and 31 are the same code
    const map = await mapOf(quantizerOf(codes, channels));
    expect(map.shares.length).toBe(2);
    for (const vector of [doubleDraws("vector", channels), map.code(31)]) {
      const all = Array.from({ length: 60 }, (_, code) => ({
        code,
        distance: Math.sqrt(map.code(code).reduce((sum, x, c) => sum + (x - vector[c]) ** 2, 0)),
      })).sort((a, b) => a.distance - b.distance || a.code - b.code);
      expect(map.nearest(vector, 6)).toEqual(all.slice(0, 6));
      expect(map.nearest(vector, 100)).toEqual(all);
    }
    expect(map.nearest(map.code(31), 2)).toEqual([{ code: 7, distance: 0 }, { code: 31, distance: 0 }]);
  });

  test("compares directions if the quantizer does", async () => {
    const map = await mapOf(quantizerOf([3, 0, 0, 2, 5, 5], 2, true));
    expectClose(map.codes, [1, 0, 0, 1, Math.SQRT1_2, Math.SQRT1_2], 1e-6);
  });

  test("of equal codes is a point", async () => {
    const map = await mapOf(quantizerOf([1, 2, 1, 2], 2));
    expect(map.shares).toEqual([0, 0]);
    expect([...map.places()]).toEqual([0, 0, 0, 0]);
  });

  test("refuses what it has not", async () => {
    const map = await mapOf(quantizerOf([1, 2, 3, 5], 2)), quantizer = quantizerOf([1, 2, 3, NaN], 2);
    expect(() => map.code(2)).toThrow("CodebookMap: the code is 2, expected a whole number from 0 to 1");
    expect(() => map.nearest(map.code(0), 0)).toThrow(
      "the number of codes is 0, expected a whole number >= 1",
    );
    await expect(CodebookMap.of(quantizer, 3)).rejects.toThrow(
      "the number of axes is 3, expected a whole number from 1 to 2",
    );
    await expect(CodebookMap.of(quantizer)).rejects.toThrow("not finite");
    quantizer.dispose();
  });
});
