// Halves by their bits give what the runtime's Float16Array gives.
import { expect, test } from "bun:test";
import { floatsOfHalves, halvesOf } from "../../../data/formats/half.ts";
import { Random } from "../../../src/index.ts";

const bitsOf = (floats: Float32Array<ArrayBuffer>) => new Uint32Array(floats.buffer);

test("every half has the same value", () => {
  const all = Uint16Array.from({ length: 65536 }, (_, i) => i).filter((h) =>
    (h & 0x7c00) !== 0x7c00 || !(h & 0x3ff)
  );
  expect(bitsOf(floatsOfHalves(all, false))).toEqual(bitsOf(floatsOfHalves(all, true)));
  const [nan] = floatsOfHalves(Uint16Array.of(0x7e01), false);
  expect(nan).toBeNaN();
});

test("floats of every size round alike, ties and borders too", () => {
  const random = new Random(5);
  const drawn = Uint32Array.from({ length: 200_000 }, () => random.bits());
  const borders = [...Array(65536).keys()].flatMap((h) => {
    const [value] = new Uint32Array(floatsOfHalves(Uint16Array.of(h), true).buffer);
    return [value, value + 1, value - 1, value + 0x1000, value + 0x0fff, value + 0x1001].map((n) => n >>> 0);
  });
  const all = new Float32Array(
    Uint32Array.from([...drawn, ...borders, 0, 0x80000000, 1, 0x33000000, 0x33000001]).buffer,
  );
  const floats = all.filter((x) => !Number.isNaN(x));
  expect(halvesOf(floats, false)).toEqual(halvesOf(floats, true));
  expect(floatsOfHalves(halvesOf(Float32Array.of(NaN), false), false)[0]).toBeNaN();
});
