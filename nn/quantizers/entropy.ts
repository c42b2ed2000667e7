// The entropy term of MaskGIT's tokenizer (Chang et al. 2022) and of lookup-free quantization (Yu et al. 2023): every vector
// should be sure of its code, and all vectors together should use all codes.
import { matmul, scope, softmax, type Tensor } from "../../src/index.ts";

/** Probabilities below it count as it inside the logarithm, because 0 log 0 is 0. */
const LEAST = 1e-20;

/**
 * mean_i H(p_i) - H(mean_i p_i), where p_i = softmax_k(-|z_i - e_k|^2 / temperature) and H is the entropy in nats; from
 * -log K to 0. It keeps three tables [N, K] for the backward pass: 48 MiB for 256 vectors and 16,384 codes.
 * @param vectors z, [..., C]
 * @param codes e, [K, C]
 */
export function entropyLoss(vectors: Tensor, codes: Tensor, temperature: number): Tensor {
  return scope(() => {
    const z = vectors.reshape(-1, codes.shape[1]);
    // |z|^2 is the same for all codes, so that the softmax does not depend on it
    const nearness = matmul(z, codes, { transposeB: true }).mul(2).sub(codes.square().sum(-1));
    const p = softmax(nearness, 1 / temperature);
    return entropy(p).mean().sub(entropy(p.mean(0)));
  });
}

/** -sum p log p over the last axis. */
function entropy(p: Tensor): Tensor {
  return p.mul(p.maximum(LEAST).log()).sum(-1).neg();
}
