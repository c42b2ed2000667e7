// Chapter 3, convolutions: `deno run -A docs/book/solutions/3.ts` prints
//   1. at the edge 1 1, in a plain area 0
//   2. receptive fields: 34 and 70
//   3. in the middle 0.111, at a corner 0.012; largest difference below 1e-6: true
import { conv2d, Random, tensor, zeros } from "../../../mod.ts";

// 1. Right minus left: -1 + 1, twice -2 + 2 and so on cancel where all pixels are equal.
const rightMinusLeft = tensor([-1, 0, 1, -2, 0, 2, -1, 0, 1].map((n) => n / 4), [1, 1, 3, 3]);
const edge = tensor(Array.from({ length: 7 * 8 }, (_, i) => i % 8 < 4 ? 0 : 1), [1, 7, 8, 1]);
const found = await conv2d(edge, rightMinusLeft).floats(); // without padding [1, 5, 6, 1]
console.log(`1. at the edge ${found[2]} ${found[3]}, in a plain area ${found[0]}`);

// 2. Each layer adds its window less one, times all strides before it.
function receptiveField(layers: readonly (readonly [window: number, stride: number])[]): number {
  let field = 1, step = 1;
  for (const [window, stride] of layers) {
    field += (window - 1) * step;
    step *= stride;
  }
  return field;
}
const patches = [[2, 2, 1, 1], [2, 2, 2, 1, 1]].map((strides) =>
  receptiveField(strides.map((s) => [4, s] as const))
);
console.log(`2. receptive fields: ${patches[0]} and ${patches[1]}`);

// 3. A picture with a single 1 gives the filter turned around, which for symmetric filters is the filter itself.
const means = tensor(Array(9).fill(1 / 9), [1, 1, 3, 3]);
const one = zeros([1, 9, 9, 1]);
one.write(Float32Array.of(1), 4 * 9 + 4);
const spread = conv2d(conv2d(one, means), means); // [1, 5, 5, 1]
const both = spread.reshape(1, 1, 5, 5);
const noise = new Random(1).normal([1, 12, 12, 1]);
const difference = await conv2d(conv2d(noise, means), means).sub(conv2d(noise, both)).abs().floats();
const filter = await both.floats();
const near = Math.max(...difference) < 1e-6;
console.log(
  `3. in the middle ${filter[12].toFixed(3)}, at a corner ${
    filter[0].toFixed(3)
  }; largest difference below 1e-6: ${near}`,
);
