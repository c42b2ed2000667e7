// Tests subgroup matrices before they are used, because the feature is experimental and may compute wrong results.
import type { Backend } from "../backend.ts";
import type { Slot } from "../buffer.ts";

/** Whether a product and a weight gradient are exact, with numbers whose sums f32 can hold without rounding. */
export async function multipliesExactly(backend: Backend): Promise<boolean> {
  const [m, k, n] = [80, 64, 72];
  const numbers = (count: number, prime: number) =>
    Float32Array.from({ length: count }, (_, i) => ((i * prime) % 31 - 15) / 16);
  const x = numbers(m * k, 7919), w = numbers(k * n, 104729), g = numbers(m * n, 1299709);
  const slots: Slot[] = [];
  const alloc = (length: number, itemBytes: Slot["itemBytes"] = 4): Slot => {
    const slot = { buffer: backend.alloc(length * itemBytes), offset: 0, length, itemBytes };
    slots.push(slot);
    return slot;
  };
  const load = (values: Float32Array): Slot => {
    const slot = alloc(values.length);
    backend.write(slot.buffer, values, 0);
    return slot;
  };
  const loadHalf = (values: Float32Array): Slot => {
    const whole = load(values), half = alloc(values.length, 2);
    backend.run("copy", { x: whole, xStrides: [1], out: half, outStrides: [1], shape: [values.length] });
    return half;
  };
  const a = loadHalf(x), b = load(w), gradient = loadHalf(g);
  const product = alloc(m * n), weights = alloc(n * k);
  backend.run("matmul", { a, b, out: product, m, k, n, transposeB: false });
  // the same numbers as an image of m pixels
  const image = { batch: 1, height: 8, width: m / 8, outHeight: 8, outWidth: m / 8 };
  const plain = { kernel: [1, 1], stride: 1, padTop: 0, padLeft: 0, upsample: 1 } as const;
  const spec = { ...image, ...plain, inChannels: k, outChannels: n };
  backend.run("conv2dWeightGrad", { x: a, g: gradient, out: weights, spec });
  const found = [
    await backend.read(product.buffer, "f32", 0, m * n),
    await backend.read(weights.buffer, "f32", 0, n * k),
  ];
  for (const { buffer } of slots) backend.free(buffer);
  const sum = (count: number, term: (i: number) => number) => {
    let total = 0;
    for (let i = 0; i < count; i++) total += term(i);
    return total;
  };
  return found[0].every((value, at) =>
    value === sum(k, (i) => x[Math.floor(at / n) * k + i] * w[i * n + at % n])
  ) &&
    found[1].every((value, at) => value === sum(m, (i) => g[i * n + Math.floor(at / k)] * x[i * k + at % k]));
}
