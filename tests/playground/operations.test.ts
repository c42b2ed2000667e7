// What the playground's worker computes for the face, the mixture and the reach of a token, without a page; and the page's undo
// and its line of questions.
import { describe, expect, test } from "bun:test";
import { asyncScope, preset, Random, VQGAN } from "../../core.ts";
import { decode } from "../../playground/engine/decode.ts";
import { encode } from "../../playground/engine/encode.ts";
import { Engine } from "../../playground/engine/engine.ts";
import { mix } from "../../playground/engine/mix.ts";
import { reach } from "../../playground/engine/reach.ts";
import { Latest } from "../../playground/page/client.ts";
import { History } from "../../playground/page/history.ts";
import { expectClose, expectNoLeak } from "../support/expectations.ts";

const side = 16, factor = 2, columns = side / factor;

/** An engine with a small model. */
function engineOf(): { engine: Engine; model: VQGAN } {
  const ddconfig = { ch: 32, chMult: [1, 1], resolution: side, attnResolutions: [8], zChannels: 16 };
  const model = new VQGAN(preset("faces", { nEmbed: 64, embedDim: 8, ddconfig }), new Random(1));
  const engine = new Engine();
  engine.replace(model, new Blob([]));
  return { engine, model };
}

const noise = (seed: number) => {
  const random = new Random(seed);
  return {
    width: side,
    height: side,
    pixels: Uint8Array.from({ length: side * side * 3 }, () => random.integer(256)),
  };
};

describe("the engine's operations", () => {
  test("encode has the model's tokens, and the distance of each vector to its code", () =>
    expectNoLeak(async () => {
      const { engine, model } = engineOf();
      const { tokens, grid, latents, errors } = await encode(engine, { source: noise(1), size: side });
      expect(tokens).toEqual((await model.tokensOf(noise(1), { size: 0 })).tokens);
      expect(grid).toEqual([columns, columns]);
      const codes = await model.quantize.codebook.floats();
      const distances = [...tokens].map((token, at) =>
        Math.hypot(...Array.from({ length: 8 }, (_, i) => latents[at * 8 + i] - codes[token * 8 + i]))
      );
      expectClose(errors, distances, 1e-5);
      model.dispose();
    }));

  test("a mixture begins with one face and ends with the other", () =>
    expectNoLeak(async () => {
      const { engine, model } = engineOf();
      const [a, b] = [
        await encode(engine, { source: noise(1), size: side }),
        await encode(engine, { source: noise(2), size: side }),
      ];
      expect(a.tokens).not.toEqual(b.tokens);
      const at = (share: number) => mix(engine, { a: a.latents, b: b.latents, grid: a.grid, share });
      for (const [share, { tokens, grid }] of [[0, a], [1, b]] as const) {
        const mixed = await at(share);
        expect(mixed.tokens).toEqual(tokens);
        expect(mixed.picture.pixels).toEqual((await decode(engine, { tokens, grid })).picture.pixels);
      }
      const half = (await at(0.5)).tokens;
      expect(half).not.toEqual(a.tokens);
      expect(half).not.toEqual(b.tokens);
      model.dispose();
    }));

  test("the reach of a token is where the decoded pictures differ, also in a corner", () =>
    expectNoLeak(async () => {
      const { engine, model } = engineOf();
      const { tokens, grid } = await encode(engine, { source: noise(1), size: side });
      for (const [row, column] of [[3, 4], [0, 7]]) {
        const place = row * columns + column, replacement = (tokens[place] + 1) % 64;
        const { width, height, change, own, near } = await reach(engine, {
          tokens,
          grid,
          place,
          replacement,
        });
        expect([width, height]).toEqual([side, side]);
        const others = tokens.slice();
        others[place] = replacement;
        const [before, after] = await asyncScope(() =>
          Promise.all([tokens, others].map((list) => model.decodeTokens(list, grid).clamp(-1, 1).floats()))
        );
        const wanted = Array.from({ length: side * side }, (_, pixel) => {
          let sum = 0;
          for (let c = 0; c < 3; c++) sum += Math.abs(after[pixel * 3 + c] - before[pixel * 3 + c]);
          return sum / 3;
        });
        expectClose(change, wanted, 1e-5);
        /** The share of the change in tiles that are at most `far` away in each direction. */
        const shareWithin = (far: number) => {
          const isNear = (pixel: number) =>
            Math.abs(Math.floor(pixel / side / factor) - row) <= far &&
            Math.abs(Math.floor(pixel % side / factor) - column) <= far;
          const sum = (values: number[]) => values.reduce((a, b) => a + b, 0);
          return sum(wanted.filter((_, pixel) => isNear(pixel))) / sum(wanted);
        };
        expect(own).toBeCloseTo(shareWithin(0), 4);
        expect(near).toBeCloseTo(shareWithin(1), 4);
      }
      model.dispose();
    }));
});

test("undo takes back strokes, redo brings them again, and what lies before can be rewritten", () => {
  const history = new History<readonly string[]>(), seen: (readonly string[] | null)[] = [];
  history.value.watch((value) => seen.push(value));
  history.undo(); // there is nothing yet
  history.start(["a"]);
  history.change(["b"]);
  history.change(["c"], true); // the same stroke
  history.undo();
  expect([history.value.value, history.canUndo, history.canRedo]).toEqual([["a"], false, true]);
  history.redo();
  expect(history.value.value).toEqual(["c"]);
  history.rewrite(([letter]) => [letter.toUpperCase()]);
  history.undo();
  expect(history.value.value).toEqual(["A"]);
  history.change(["d"]);
  expect(history.canRedo).toBe(false);
  expect(seen).toEqual([null, ["a"], ["b"], ["c"], ["a"], ["c"], ["C"], ["A"], ["d"]]);
});

test("of many questions only the first and the newest are asked, and an error does not end the line", async () => {
  const asked: number[] = [], used: number[] = [], failed: string[] = [];
  const line = new Latest(
    async (n: number) => {
      asked.push(n);
      await new Promise((resolve) => setTimeout(resolve, 5));
      if (n < 0) throw new Error(`no ${n}`);
      return n * 10;
    },
    (answer) => used.push(answer),
    (error) => failed.push((error as Error).message),
  );
  const first = line.put(1);
  for (let n = 2; n < 9; n++) void line.put(n);
  await first;
  await line.put(-1);
  await line.put(9);
  expect([asked, used, failed]).toEqual([[1, 8, -1, 9], [10, 80, 90], ["no -1"]]);
});
