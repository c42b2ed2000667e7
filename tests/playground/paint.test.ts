// Painting with tokens in real browsers: strokes of the mouse, keys, swapped regions, undo and redo.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Tab } from "../support/devtools.ts";
import { browsers } from "./browsers.ts";
import { choose, isReady, removeSite, served, tokensIn } from "./play.ts";

setDefaultTimeout(120_000);
afterAll(removeSite);

/** The places of 16 x 16 tiles at which two lists of tokens differ. */
const changed = (a: readonly number[], b: readonly number[]) =>
  a.flatMap((token, at) => token === b[at] ? [] : [at]);

/** Moves the mouse over tiles of the grid, given as [row, column], with the button pressed. */
async function stroke(tab: Tab, ...tiles: (readonly [row: number, column: number])[]): Promise<void> {
  const grid = `document.querySelector("#paint canvas.tokens")`;
  await tab.evaluate(`${grid}.scrollIntoView({ block: "center", behavior: "instant" })`);
  const { x, y, width } = await tab.evaluate<{ x: number; y: number; width: number }>(
    `(({ x, y, width }) => ({ x, y, width }))(${grid}.getBoundingClientRect())`,
  );
  const places = tiles.map(([row, column]) =>
    [x + (column + 0.5) * width / 16, y + (row + 0.5) * width / 16] as const
  );
  await tab.mouse("move", ...places[0]);
  await tab.mouse("down", ...places[0]);
  for (const place of places) await tab.mouse("move", ...place);
  await tab.mouse("up", ...places.at(-1)!);
}

/** The brightness of all pixels of the second face, as it is drawn from its tokens. */
const brightness = `(() => {
  const canvas = document.querySelector("#paint .side canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.reduce((sum, value) => sum + value);
})()`;

for (const { name, missing, withTab } of browsers) {
  describe(`painting in ${name}`, () => {
    if (missing !== null) {
      test.skip(`needs ${missing}`, () => {});
      return;
    }

    test("strokes, regions, keys, undo and redo", async () => {
      await served((address) =>
        withTab(address, async (tab) => {
          await tab.look(1200, 1000);
          await tab.until(`${isReady} && ${brightness} > 0`);
          const own = await tokensIn(tab, "paint"), before = await tab.evaluate(brightness);

          // all tokens of both faces change places
          await choose(tab, "paint", "swap");
          await stroke(tab, [0, 0], [15, 15]);
          const theirs = await tokensIn(tab, "paint");
          expect(changed(own, theirs).length).toBeGreaterThan(200);
          await tab.until(`${brightness} !== ${before}`);
          await tab.press("z", true);
          expect(await tokensIn(tab, "paint")).toEqual(own);
          await tab.until(`${brightness} === ${before}`);

          // a stroke from the second face is one step of undo
          await choose(tab, "paint", "other");
          await stroke(tab, [6, 4], [6, 5], [6, 6], [7, 6]);
          const painted = await tokensIn(tab, "paint"),
            places = [6 * 16 + 4, 6 * 16 + 5, 6 * 16 + 6, 7 * 16 + 6];
          expect(changed(own, painted)).toEqual(places);
          for (const at of places) expect(painted[at]).toBe(theirs[at]);
          await tab.press("z", true);
          expect(await tokensIn(tab, "paint")).toEqual(own);
          await tab.press("y", true);
          expect(await tokensIn(tab, "paint")).toEqual(painted);

          // the eraser takes back a part of it, 2 x 2 tiles at a time
          await choose(tab, "paint", "eraser");
          await choose(tab, "paint", "2");
          await stroke(tab, [7, 6]);
          expect(changed(own, await tokensIn(tab, "paint"))).toEqual([6 * 16 + 4]);
          await choose(tab, "paint", "1");

          // by keys alone: pick the token of a tile, go to the next one, and paint it there
          await tab.evaluate(`document.querySelector("#paint canvas.tokens").focus()`);
          for (const key of ["Home", "p", "ArrowRight", "ArrowDown", " "]) await tab.press(key);
          const line = await tab.evaluate<string>(`document.querySelector("#paint .readout").textContent`);
          const [, row, column] = /^Row (\d+), column (\d+): token/.exec(line)!.map(Number);
          const last = await tokensIn(tab, "paint");
          expect([column, last[(row - 1) * 16 + 1]]).toEqual([2, last[(row - 2) * 16]]);
          expect(tab.errors).toEqual([]);
        })
      );
    });
  });
}
