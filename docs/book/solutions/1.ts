// Chapter 1, pictures as tensors: `deno run -A docs/book/solutions/1.ts` prints
//   1. swapped twice, the largest difference is 0
//   2. number (0, 2, 5, 7) is the same in both orders: true
//   3. 28.1 dB
import { concat, drawCartoonFace, type Tensor, tensor, toFloats } from "../../../mod.ts";

const size = 32;
const image = tensor(toFloats(await drawCartoonFace(8, size)), [1, size, size, 3]);

// 1. The channels are the last axis. A slice takes [from, to) of each axis.
function swapRedAndBlue(x: Tensor): Tensor {
  const [batch, height, width] = x.shape;
  const channel = (c: number) => x.slice([0, 0, 0, c], [batch, height, width, c + 1]);
  return concat([channel(2), channel(1), channel(0)], 3);
}
const twice = swapRedAndBlue(swapRedAndBlue(image));
const differences = await twice.sub(image).abs().floats();
console.log(`1. swapped twice, the largest difference is ${Math.max(...differences)}`);

// 2. permute names, for each new axis, the old one. `floats` copies the numbers in their new order.
const channelsFirst = image.permute(0, 3, 1, 2);
const [before, after] = [await image.floats(), await channelsFirst.floats()];
const [b, c, y, x] = [0, 2, 5, 7];
const same = before[((b * size + y) * size + x) * 3 + c] === after[((b * 3 + c) * size + y) * size + x];
console.log(`2. number (${b}, ${c}, ${y}, ${x}) is the same in both orders: ${same}`);

// 3. All differences are 10 / 255, so no picture is needed: MSE = (10 / 255)^2.
const psnr = -10 * Math.log10((10 / 255) ** 2);
console.log(`3. ${psnr.toFixed(1)} dB`);
