// Which directions of a model's vectors are worth the bits of a token (docs/book/5-codebook.md). Adds noise to the vectors along
// each of their principal axes, decodes, and measures how much the squared error of the pictures grows for each unit of noise.
// The variance along an axis times this growth is the axis's worth: about the error that pictures would have without it. Then
// the bits of a token are divided among the axes as rate-distortion theory does it (reverse water-filling: Cover and Thomas,
// Elements of Information Theory, 10.3.3).
//   deno run -A scripts/directions.ts MODEL PICTURES [COUNT]      (the first COUNT pictures; by default 24)
// Squared errors are means over numbers from -1 to 1, so 0.01 is a PSNR of 26.0 dB.
import process from "node:process";
import { asyncScope, ImageDataset, noGrad, Random, tensor, VQGAN } from "../mod.ts";
import { finish } from "../src/parts.ts";
import { principalAxes } from "./principal_axes.ts";

const [path, data, count = "24"] = process.argv.slice(2);
if (!data) throw new Error("MODEL and PICTURES are needed");
const model = await VQGAN.load(path), { embedDim, nEmbed, ddconfig } = model.config;
const pictures = await ImageDataset.open(data, { size: ddconfig.resolution, shuffle: false });

/** A picture's pixels [1, H, W, 3] and its vectors before the codebook [1, h, w, embedDim]. */
interface Example {
  readonly pixels: Float32Array;
  readonly shape: readonly number[];
  readonly vectors: Float32Array;
  readonly grid: readonly number[];
}
const examples: Example[] = [];
for await (const { pixels, shape } of pictures.once(1)) {
  await asyncScope(async () => {
    const z = noGrad(() => finish(model.latentParts(tensor(pixels, shape))));
    examples.push({ pixels, shape, vectors: await z.floats(), grid: z.shape });
  });
  if (examples.length === Number(count)) break;
}

/** The mean squared error of the pictures, with noise of this standard deviation along a direction of the vectors. */
async function errorWith(noise: number, direction: ArrayLike<number>): Promise<number> {
  const random = new Random(1), errors: number[] = [];
  for (const { pixels, shape, vectors, grid } of examples) {
    await asyncScope(async () => {
      const amounts = random.normal([...grid.slice(0, -1), 1], 0, noise);
      const z = tensor(vectors, grid).add(amounts.mul(tensor(Float32Array.from(direction), [embedDim])));
      errors.push(await model.decode(z).clamp(-1, 1).sub(tensor(pixels, shape)).square().mean().item());
    });
  }
  return errors.reduce((sum, error) => sum + error / errors.length, 0);
}

const axes = principalAxes(Float32Array.from(examples.flatMap(({ vectors }) => [...vectors])), embedDim);
const without = await errorWith(0, axes[0].direction);
const worths: number[] = [];
for (const { direction, variance } of axes) {
  const noise = 0.4 * Math.sqrt(Math.max(0, variance));
  worths.push(Math.max(0, (await errorWith(noise, direction) - without) / 0.4 ** 2));
}

/** How many bits each axis gets if each may keep an error of `level`. */
const bitsAt = (level: number) => worths.map((worth) => Math.max(0, 0.5 * Math.log2(worth / level)));
let low = 1e-12, high = Math.max(...worths); // the level lies between these, and bits become fewer as it rises
while (high / low > 1.0001) {
  const level = Math.sqrt(low * high);
  if (bitsAt(level).reduce((sum, bits) => sum + bits) > Math.log2(nEmbed)) low = level;
  else high = level;
}

const bits = bitsAt(high);
console.log(`squared error without a codebook: ${without.toFixed(5)}; ${Math.log2(nEmbed)} bits a token`);
console.log("axis  variance     worth  bits");
axes.forEach(({ variance }, i) => {
  const cells = [
    variance.toPrecision(3).padStart(9),
    worths[i].toExponential(1).padStart(9),
    bits[i].toFixed(1),
  ];
  console.log(`${String(i + 1).padStart(4)} ${cells.join(" ")}`);
});
const kept = worths.reduce((sum, worth) => sum + Math.min(worth, high), 0);
console.log(
  `the best codebook adds ${kept.toFixed(5)}; an axis that is worth less than ${
    high.toExponential(1)
  } gets no bit`,
);
