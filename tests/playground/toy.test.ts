// The toy quantizer of the playground: codes move, some die, and a restart revives them. And colours in two numbers give the
// same pixels again.
import { expect, test } from "bun:test";
import { drawCartoonFace, Random } from "../../mod.ts";
import { chromaOf, recolored, rgbOf } from "../../playground/toy/chroma.ts";
import { ToyQuantizer } from "../../playground/toy/toy_quantizer.ts";
import { describeDevices } from "../support/devices.ts";
import { expectNoLeak } from "../support/expectations.ts";

const count = 16;
/** Vectors on a ring, with nothing in the middle, where the codes start. */
function ring(): Float32Array {
  const random = new Random(4), values: number[] = [];
  for (let i = 0; i < 300; i++) {
    const angle = 2 * Math.PI * random.next(), radius = 0.35 + 0.2 * random.next();
    values.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return Float32Array.from(values);
}
/** All codes close together, as in taming. */
const together = () => new Random(5).uniform([count, 2], -0.02, 0.02);

const codeAt = (codes: Float32Array, code: number) => [...codes.subarray(2 * code, 2 * code + 2)];

describeDevices("the toy quantizer", () => {
  test("codes move, one dies, and a restart revives it", () =>
    expectNoLeak(async () => {
      const start = together(), toy = new ToyQuantizer(ring(), await start.floats(), new Random(1));
      start.dispose();
      const before = await toy.state();
      const train = (steps: number) => {
        for (let step = 0; step < steps; step++) toy.step(0.01);
      };
      train(60);
      const after = await toy.state();
      expect([before.step, after.step]).toEqual([0, 60]);
      expect(after.loss).toBeLessThan(0.5 * before.loss);

      const used = new Set(after.tokens), all = Array.from({ length: count }, (_, code) => code);
      const usedBefore = new Set(before.tokens);
      const dead = all.filter((code) => !used.has(code) && !usedBefore.has(code));
      expect(dead.length).toBeGreaterThan(0);
      for (const code of all) {
        const hasMoved = `${codeAt(after.codes, code)}` !== `${codeAt(before.codes, code)}`;
        if (usedBefore.has(code)) expect([code, hasMoved]).toEqual([code, true]);
      }
      // a code that was never chosen had no gradient, and has not moved by a single bit
      const still = dead.filter((code) => `${codeAt(after.codes, code)}` === `${codeAt(before.codes, code)}`);
      expect(still.length).toBeGreaterThan(0);

      const moved = await toy.restart(), revived = await toy.state();
      expect(moved).toEqual(all.filter((code) => !used.has(code)));
      expect(revived.loss).toBeLessThan(after.loss);
      for (const code of moved) {
        const place = codeAt(revived.codes, code);
        expect(revived.tokens.some((token) => `${codeAt(revived.codes, token)}` === `${place}`)).toBe(true);
      }
      train(60);
      const end = await toy.state();
      expect(new Set(end.tokens).size).toBeGreaterThan(used.size);
      expect(end.loss).toBeLessThan(0.5 * after.loss);
      toy.dispose();
    }));
});

const pixels = await drawCartoonFace(8, 32), { brightness, colors } = chromaOf(pixels);

test("a colour in two numbers and a brightness are the pixel again", () => {
  const codes = colors.slice(), tokens = Int32Array.from(brightness, (_, i) => i); // each pixel is its own code
  expect(recolored(brightness, tokens, codes)).toEqual(pixels);
  expect(rgbOf(0.5, 0, 0)).toEqual([128, 128, 128]);
  expect(rgbOf(0.5, 0.9, 0)[2]).toBe(255);
  const grey = recolored(brightness, new Int32Array(brightness.length), new Float32Array(2));
  for (let i = 0; i < grey.length; i += 3) expect([grey[i + 1], grey[i + 2]]).toEqual([grey[i], grey[i]]);
});
