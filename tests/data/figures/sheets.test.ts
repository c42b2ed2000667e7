// Sheets of pictures and of tokens.
import { describe, expect, test } from "bun:test";
import { codeColor, grid, sideBySide, tokenGrid } from "../../../data/figures/sheets.ts";
import { halves, pixel } from "../../support/pictures.ts";

describe("sheets", () => {
  test("grid puts every picture in its cell", () => {
    const sheet = grid([halves(4, 4), halves(4, 4), halves(2, 2)], { columns: 2, padding: 1 });
    expect([sheet.width, sheet.height]).toEqual([11, 11]);
    expect(pixel(sheet, 0, 0)).toEqual([255, 255, 255]);
    expect(pixel(sheet, 6, 1)).toEqual([255, 0, 0]);
    expect(pixel(sheet, 9, 1)).toEqual([0, 0, 255]);
    expect(pixel(sheet, 1, 6)).toEqual([255, 255, 255]); // the small picture is centred in its cell
    expect(pixel(sheet, 2, 7)).toEqual([255, 0, 0]);
    expect(() => grid([])).toThrow("no pictures");
  });

  test("sideBySide writes the labels above the columns", async () => {
    const rows = [[halves(64, 64), halves(64, 64)]];
    const bare = await sideBySide(rows), named = await sideBySide(rows, { labels: ["before", "after"] });
    expect(named.width).toBe(bare.width);
    const band = named.pixels.subarray(0, (named.height - bare.height) * named.width * 3);
    expect(band.length > 0 && band.some((value) => value < 100)).toBe(true);
    await expect(sideBySide(rows, { labels: ["one"] })).rejects.toThrow("row 0 has 2 pictures, expected 1");
  });

  test("tokenGrid paints each code in its own colour", async () => {
    const indices = Int32Array.of(0, 16383, 16383, 5, 0, 9);
    const sheet = await tokenGrid(indices, [2, 3], { tile: 8 });
    expect([sheet.width, sheet.height]).toEqual([24, 16]);
    indices.forEach((code, i) => {
      const x = (i % 3) * 8, y = Math.floor(i / 3) * 8;
      expect(pixel(sheet, x, y)).toEqual(codeColor(code));
      expect(pixel(sheet, x + 7, y + 7)).toEqual(codeColor(code));
    });
    expect((await tokenGrid(indices, [2, 3], { tile: 24, numbers: true })).width).toBe(72);
    await expect(tokenGrid(indices, [2, 2])).rejects.toThrow("6 indices for 2x2 tiles, expected 4");
  });
});
