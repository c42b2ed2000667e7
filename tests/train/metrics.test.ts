// Measuring how similar two pictures are.
import { expect, test } from "bun:test";
import { psnr, ssim } from "../../train/index.ts";
import { expectClose } from "../support/expectations.ts";
import { blob } from "../support/runs.ts";

test("PSNR and SSIM", () => {
  const a = blob(1, 24);
  const shifted = { ...a, pixels: a.pixels.map((x) => x > 127 ? x - 16 : x + 16) };
  expect(psnr(a, a)).toBe(Infinity);
  expectClose([psnr(a, shifted)], [20 * Math.log10(255 / 16)], 1e-9);
  expectClose([ssim(a, a)], [1], 1e-12);
  expect(ssim(a, shifted)).toBeLessThan(1);
  expect(() => psnr(a, blob(1, 8))).toThrow("24x24 and 8x8");
  expect(() => ssim(blob(1, 8), blob(2, 8))).toThrow("but its window needs 11x11");
});
