// The terms of VQGAN's loss as functions of tensors; train/step.ts puts them together. The idea is that of Esser et al.
// 2021: reconstruction and codebook in equation 4, the GAN and its adaptive weight in 5 to 7. The details follow taming's
// code and not the paper: |x - x̂| plus LPIPS, the hinge loss, -mean D(x̂) for the generator, 1e-4 in the adaptive
// weight, its upper limit, and discWeight.
import type { LossConfig } from "../data/formats/config.ts";
import { relu, scope, type Tensor } from "../src/index.ts";

/** mean |x - x̂| + perceptualWeight * p: what taming logs as both nll_loss and rec_loss. */
export function reconstructionLoss(
  images: Tensor,
  reconstruction: Tensor,
  p: Tensor,
  perceptualWeight: number,
): Tensor {
  return scope(() => images.sub(reconstruction).abs().mean().add(p.mul(perceptualWeight)));
}

/** -mean D(x̂): low where the discriminator takes the reconstructions for real pictures. */
export function generatorLoss(fake: Tensor): Tensor {
  return scope(() => fake.mean().neg());
}

/** hinge: (mean relu(1 - D(x)) + mean relu(1 + D(x̂))) / 2; vanilla: softplus(-D(x)) and softplus(D(x̂)) instead. */
export function discriminatorLoss(real: Tensor, fake: Tensor, kind: LossConfig["discLoss"]): Tensor {
  return scope(() =>
    kind === "hinge"
      ? relu(real.neg().add(1)).mean().add(relu(fake.add(1)).mean()).mul(0.5)
      : real.neg().softplus().mean().add(fake.softplus().mean()).mul(0.5)
  );
}

/** What both losses of the GAN are multiplied by at a step: 0 until `discStart`. */
export function discriminatorFactor({ discStart, discFactor }: LossConfig, globalStep: number): number {
  return globalStep < discStart ? 0 : discFactor;
}

/**
 * The weight of the generator's loss: discWeight * clamp(|dnll/dW| / (|dg/dW| + 1e-4), 0, 1e4), from the lengths of the
 * two losses' gradients at the decoder's last weight W. At W, and only there, the gradient of the GAN is then
 * about discWeight times as long as that of the reconstruction.
 */
export function adaptiveWeight(nllLength: Tensor, generatorLength: Tensor, discWeight: number): Tensor {
  return scope(() => nllLength.div(generatorLength.add(1e-4)).clamp(0, 1e4).mul(discWeight));
}
