// Checks a device with one small convolution, whose result is also computed here in plain JavaScript.
import { conv2d, scope, tensor } from "../../src/index.ts";
import type { Finding } from "./finding.ts";

export async function checkEngine(name: string): Promise<Finding> {
  const start = performance.now();
  const error = await convolutionError(), milliseconds = (performance.now() - start).toFixed(0);
  const found = `3x3 convolution, largest error ${error.toExponential(1)}, ${milliseconds} ms`;
  if (error < 1e-4) return { name, found };
  return {
    name,
    found,
    advice: "the result is wrong: please report this together with the output of this command",
  };
}

/** Returns the largest difference between the device's result and sums in double precision. */
async function convolutionError(): Promise<number> {
  const side = 24, inputs = 16, outputs = 32;
  const image = Float32Array.from({ length: side * side * inputs }, (_, i) => ((i * 37) % 101) / 50 - 1);
  const weight = Float32Array.from({ length: outputs * inputs * 9 }, (_, i) => ((i * 53) % 89) / 44 - 1);
  const at = (y: number, x: number, c: number) =>
    y < 0 || x < 0 || y >= side || x >= side ? 0 : image[(y * side + x) * inputs + c];
  const made = await scope(() =>
    conv2d(tensor(image, [1, side, side, inputs]), tensor(weight, [outputs, inputs, 3, 3]), null, {
      padding: 1,
    })
  ).floats();
  let worst = 0;
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      for (let o = 0; o < outputs; o++) {
        let sum = 0;
        for (let c = 0; c < inputs; c++) {
          for (let k = 0; k < 9; k++) {
            sum += at(y + Math.floor(k / 3) - 1, x + k % 3 - 1, c) * weight[(o * inputs + c) * 9 + k];
          }
        }
        const error = Math.abs(made[(y * side + x) * outputs + o] - sum);
        if (!(error <= worst)) worst = error; // also true for NaN
      }
    }
  }
  return worst;
}
