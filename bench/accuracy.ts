// Measures the rounding error of each algorithm for a 3x3 convolution, against the definition in float64:
//   deno run -A bench/accuracy.ts        or: bun bench/accuracy.ts
// It prints the root mean square of the error divided by that of the result, for normal inputs, weights and gradients.
import { conv2d, device, grad, Random, scope, type Tensor } from "../src/index.ts";
import { table } from "./children.ts";

/** Input channels, output channels and the side of the picture. */
const SHAPES = [[64, 64, 64], [128, 128, 64], [256, 256, 32], [512, 512, 16]] as const;
/** How many values are compared; the definition in plain JavaScript is slow. */
const SAMPLES = 1500;

type Picture = { readonly values: Float32Array; readonly side: number; readonly channels: number };

/** The value at (y, x); 0 outside the picture. */
function at({ values, side, channels }: Picture, y: number, x: number, c: number): number {
  return y < 0 || x < 0 || y >= side || x >= side ? 0 : values[(y * side + x) * channels + c];
}

/** sum over taps and channels of picture[y + ky - 1][x + kx - 1][c] weight(c, ky, kx), in float64. */
function convolve(
  picture: Picture,
  y: number,
  x: number,
  weight: (c: number, tap: number) => number,
): number {
  let sum = 0;
  for (let tap = 0; tap < 9; tap++) {
    for (let c = 0; c < picture.channels; c++) {
      sum += at(picture, y + Math.floor(tap / 3) - 1, x + tap % 3 - 1, c) * weight(c, tap);
    }
  }
  return sum;
}

class Difference {
  #error = 0;
  #square = 0;

  add(got: number, wanted: number): void {
    this.#error += (got - wanted) ** 2;
    this.#square += wanted ** 2;
  }

  get relative(): string {
    return Math.sqrt(this.#error / this.#square).toExponential(1);
  }
}

async function errors(inputs: number, outputs: number, side: number, exact: boolean): Promise<string[]> {
  await device("cpu", { exact });
  const random = new Random(5);
  const tensors = scope((): Tensor[] => {
    const x = random.normal([1, side, side, inputs]), w = random.normal([outputs, inputs, 3, 3]);
    const g = random.normal([1, side, side, outputs]);
    x.requiresGrad = w.requiresGrad = true;
    const y = conv2d(x, w, null, { padding: 1 });
    return [x.detach(), w.detach(), g, y.detach(), ...grad([y], [x, w], { gradOutputs: [g] })];
  });
  const [x, w, g, y, dX, dW] = await Promise.all(tensors.map((t) => t.floats()));
  for (const t of tensors) t.dispose();
  const image = { values: x, side, channels: inputs }, gradient = { values: g, side, channels: outputs };
  const [forward, input, weight] = [new Difference(), new Difference(), new Difference()];
  for (let n = 0; n < SAMPLES; n++) {
    const [i, o] = [random.integer(inputs), random.integer(outputs)];
    const [row, column, tap] = [random.integer(side), random.integer(side), random.integer(9)];
    const pixel = row * side + column;
    forward.add(
      y[pixel * outputs + o],
      convolve(image, row, column, (c, tap) => w[(o * inputs + c) * 9 + tap]),
    );
    input.add(
      dX[pixel * inputs + i],
      convolve(gradient, row, column, (c, tap) => w[(c * inputs + i) * 9 + 8 - tap]),
    );
    let sum = 0;
    for (let p = 0; p < side * side; p++) {
      const [py, px] = [Math.floor(p / side), p % side];
      sum += g[p * outputs + o] * at(image, py + Math.floor(tap / 3) - 1, px + tap % 3 - 1, i);
    }
    weight.add(dW[(o * inputs + i) * 9 + tap], sum);
  }
  return [forward, input, weight].map((d) => d.relative);
}

const rows: string[][] = [["3x3 convolution", "algorithm", "forward", "dX", "dW"]];
for (const [inputs, outputs, side] of SHAPES) {
  for (const [name, exact] of [["definition", true], ["Winograd", false]] as const) {
    rows.push([`${inputs}->${outputs} ${side}x${side}`, name, ...await errors(inputs, outputs, side, exact)]);
  }
}
console.log(table(rows));
