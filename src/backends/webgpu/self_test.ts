// Products by matrices are tried before they are used: what an experimental feature computes is known by looking only.
import type { Buffer, DType, View } from "../backend.ts";
import { copy } from "./elementwise.ts";
import type { Gpu } from "./gpu.ts";
import { matmul } from "./matmul.ts";
import { conv2dWeightGrad } from "./weight_gradient.ts";

/** A product and a weight gradient of numbers whose sums f32 knows exactly, beside the definition; if there are matrices. */
export async function prove(gpu: Gpu): Promise<boolean> {
  if (!gpu.matrix) return true;
  const [m, k, n] = [80, 64, 72];
  const numbers = (count: number, prime: number) =>
    Float32Array.from({ length: count }, (_, i) => ((i * prime) % 31 - 15) / 16);
  const x = numbers(m * k, 7919), w = numbers(k * n, 104729), g = numbers(m * n, 1299709);
  const view = (buffer: Buffer, columns: number) => ({ buffer, offset: 0, strides: [columns, 1] });
  const load = (values: Float32Array, columns: number, dtype: DType): View => {
    const whole = view(gpu.alloc(values.length * 4), columns);
    gpu.write(whole.buffer, values, 0);
    if (dtype === "f32") return whole;
    const half = view(gpu.alloc(values.length * 2, dtype), columns);
    copy(gpu, whole, half, [values.length / columns, columns]);
    gpu.free(whole.buffer);
    return half;
  };
  const a = load(x, k, "f16"), b = load(w, n, "f32"), gradient = load(g, n, "f16");
  const product = view(gpu.alloc(m * n * 4), n), weights = view(gpu.alloc(n * k * 4), k);
  matmul(gpu, a, b, product, m, k, n, false);
  const image = {
    batch: 1,
    height: 8,
    width: m / 8,
    inChannels: k,
    outHeight: 8,
    outWidth: m / 8,
    outChannels: n,
  };
  const plain = { kernel: [1, 1], stride: 1, padTop: 0, padLeft: 0, upsample: 1 } as const;
  conv2dWeightGrad(gpu, a.buffer, gradient.buffer, weights.buffer, { ...image, ...plain });
  const found = [
    await gpu.read(product.buffer, "f32", 0, m * n),
    await gpu.read(weights.buffer, "f32", 0, n * k),
  ];
  for (const { buffer } of [a, b, gradient, product, weights]) gpu.free(buffer);
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
