// Chapter 5, the codebook: `deno run -A docs/book/solutions/5.ts` prints
//   1. through the quantizer 0.25 -0.50 1.00 0.00, without it 0.25 -0.50 1.00 0.00
//   2. 4.00 and 1.18
//   3. beta on the vectors: z gets 0.05, its code -0.20, the other code 0.00
//   3. beta on the codes: z gets 0.20, its code -0.05, the other code 0.00
import { backward, Random, scope, tensor, VectorQuantizer } from "../../../mod.ts";

const texts = (values: Float32Array) => [...values].map((v) => v.toFixed(2)).join(" ");

// 1. Two vectors of two numbers. The loss is linear in z_q, so its gradient is w / 4, wherever the codes are.
const w = tensor([1, -2, 4, 0], [2, 2]);
const quantizer = new VectorQuantizer(8, 2, { beta: 0.25, legacyBeta: false }, new Random(1));
const gradients: string[] = [];
for (const isQuantized of [true, false]) {
  const z = tensor([0.3, 0.1, -0.7, 0.9], [2, 2], { requiresGrad: true });
  scope(() => backward((isQuantized ? quantizer.call(z).quantized : z).mul(w).mean()));
  gradients.push(texts(await z.grad!.floats()));
}
console.log(`1. through the quantizer ${gradients[0]}, without it ${gradients[1]}`);

// 2. Four equal shares are as four codes. With 97 in a hundred, it is hardly more than one code.
function perplexity(counts: readonly number[]): number {
  const total = counts.reduce((a, b) => a + b);
  return Math.exp(-counts.reduce((sum, n) => sum + n / total * Math.log(n / total), 0));
}
console.log(`2. ${perplexity([25, 25, 25, 25]).toFixed(2)} and ${perplexity([97, 1, 1, 1]).toFixed(2)}`);

// 3. One vector, 0.1, and two codes, 0 and 5. The derivative of (z - e)^2 is 2 (z - e) = 0.2 at z, and -0.2 at e.
for (const legacyBeta of [false, true]) {
  const toy = new VectorQuantizer(2, 1, { beta: 0.25, legacyBeta }, new Random(1));
  toy.codebook.write(Float32Array.of(0, 5));
  const z = tensor([0.1], [1, 1], { requiresGrad: true });
  scope(() => backward(toy.call(z).loss));
  const [own, other] = await toy.codebook.grad!.floats(), at = await z.grad!.item();
  const name = legacyBeta ? "codes" : "vectors";
  console.log(
    `3. beta on the ${name}: z gets ${at.toFixed(2)}, its code ${own.toFixed(2)}, the other code ${
      other.toFixed(2)
    }`,
  );
}
