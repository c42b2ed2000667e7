// What networks see at each pixel: the patches of the discriminator and its map, and the map of LPIPS. (lpips.test.ts compares
// the latter with the package lpips.)
import { expect, test } from "bun:test";
import { NLayerDiscriminator } from "../../nn/discriminator.ts";
import { LPIPS } from "../../nn/lpips.ts";
import { asyncScope, backward, grad, noGrad, Random, type Tensor, tensor } from "../../src/index.ts";
import { describeDevices } from "../support/devices.ts";
import { expectClose, expectNoLeak } from "../support/expectations.ts";
import { fillState } from "../support/goldens.ts";
import { drawn, relativeError } from "../support/numbers.ts";

const discriminatorOf = (numLayers: number) => {
  const made = new NLayerDiscriminator({ ndf: 4, numLayers }, new Random(numLayers));
  fillState(made.stateDict(), "loss.discriminator.");
  return made;
};

/** The rows and columns at which a gradient [1, H, W, 3] is not 0, up to rounding in Winograd's convolutions: first and last. */
async function extent(gradient: Tensor): Promise<number[]> {
  const [, height, width] = gradient.shape, seen = await gradient.abs().sum(3).floats();
  const rounding = 1e-6 * Math.max(...seen);
  const rows = Array.from({ length: height }, (_, y) => seen.subarray(y * width, (y + 1) * width));
  const columns = Array.from({ length: width }, (_, x) => rows.map((row) => row[x]));
  return [rows, columns].flatMap((lines) => {
    const isSeen = lines.map((line) => line.some((value) => value > rounding));
    return [isSeen.indexOf(true), isSeen.lastIndexOf(true)];
  });
}

describeDevices("maps of what networks see", (device) => {
  for (const numLayers of [1, 2, 3]) {
    test(`the patch of a discriminator with ${numLayers} layers is what its logits see`, () =>
      expectNoLeak(async () => {
        const discriminator = discriminatorOf(numLayers).eval(); // by its batch norm, training sees the whole batch
        const { size, stride, start } = discriminator.patch;
        await asyncScope(async () => {
          const side = 96, images = drawn("images", [1, side, side, 3]);
          images.requiresGrad = true;
          const logits = discriminator.call(images), [, rows, columns] = logits.shape;
          for (const [row, column] of [[rows >> 1, columns >> 1], [0, columns - 1]]) {
            const one = logits.slice([0, row, column], [1, row + 1, column + 1]).sum();
            const [gradient] = grad([one], [images], { retainGraph: true });
            const first = (i: number) => Math.max(0, start + i * stride);
            const last = (i: number) => Math.min(side, start + i * stride + size) - 1;
            expect(await extent(gradient)).toEqual([first(row), last(row), first(column), last(column)]);
          }
        });
        discriminator.dispose();
      }));
  }

  test("the map of a discriminator has each logit in the middle of its patch, and is linear between", () =>
    expectNoLeak(async () => {
      const discriminator = discriminatorOf(2);
      await asyncScope(async () => {
        const [height, width] = [40, 56], images = drawn("two", [2, height, width, 3]);
        const map = await noGrad(() => discriminator.map(images)).floats();
        expect(discriminator.training).toBe(true);
        const logits = noGrad(() => discriminator.eval().call(images)), [, rows, columns] = logits.shape;
        const values = await logits.floats(), { size, stride, start } = discriminator.patch;
        /** The two logits that a pixel lies between, with their weights. */
        const between = (pixel: number, count: number) => {
          const middles = Array.from({ length: count }, (_, i) => start + i * stride + size / 2);
          const at = Math.min(middles[count - 1], Math.max(middles[0], pixel + 0.5));
          const weights = middles.map((middle) => Math.max(0, 1 - Math.abs(at - middle) / stride));
          return [...weights.entries()].filter(([, weight]) => weight > 0);
        };
        const wanted = Array.from(map, (_, at) => {
          const [image, y, x] = [
            Math.floor(at / height / width),
            Math.floor(at / width) % height,
            at % width,
          ];
          let sum = 0;
          for (const [i, down] of between(y, rows)) {
            for (const [j, across] of between(x, columns)) {
              sum += down * across * values[(image * rows + i) * columns + j];
            }
          }
          return sum;
        });
        expect(relativeError(map, wanted)).toBeLessThan(1e-6);
      });
      discriminator.dispose();
    }));

  if (device === "gpujs") return; // its loops would take minutes for VGG16
  test("the mean of the map of LPIPS is LPIPS, for sides that all taps divide", () =>
    expectNoLeak(async () => {
      const lpips = new LPIPS("vgg");
      fillState(lpips.stateDict(), "loss.perceptual_loss.");
      lpips.ready = true;
      await asyncScope(async () => {
        const [a, b] = ["a", "b"].map((name) => drawn(name, [2, 16, 32, 3])); // 1 x 2 pixels at the last tap
        b.requiresGrad = true;
        const map = lpips.map(a, b), distances = await lpips.call(a, b).floats();
        expect(map.shape).toEqual([2, 16, 32]);
        expect(relativeError(await map.mean([1, 2]).floats(), distances)).toBeLessThan(2e-6);
        // where the pictures agree widely, so do the features of the first tap and with them most of the map
        const half = tensor(Float32Array.from({ length: 32 }, (_, x) => x < 16 ? 0 : 1), [1, 1, 32, 1]);
        const mixed = await noGrad(() => lpips.map(a, a.add(b.sub(a).mul(half)))).floats();
        const sumOf = (from: number, to: number) =>
          mixed.reduce((sum, value, i) => i % 32 >= from && i % 32 < to ? sum + value : sum, 0);
        expect(sumOf(0, 8)).toBeLessThan(0.5 * sumOf(24, 32));
        expectClose(await noGrad(() => lpips.map(a, a)).floats(), new Float32Array(1024), 0);
        // as a loss it has the gradient of the distance
        backward(map.mean());
        const [gradient, wanted] = [
          await b.grad!.floats(),
          await grad([lpips.call(a, b).mean()], [b])[0].floats(),
        ];
        expect(relativeError(gradient, wanted)).toBeLessThan(2e-5);
        b.grad!.dispose();
      });
      lpips.dispose();
    }));
});
