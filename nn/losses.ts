// The terms of VQGAN's loss as functions of tensors; train/step.ts combines them. x are the images, x̂ their reconstructions,
// and D(...) the discriminator's logits, which are high for what looks real (discriminator.ts). The idea is that of Esser et
// al. 2021: reconstruction and codebook in equation 4, the GAN and its adaptive weight in 5 to 7. The details are those of
// taming's code and not of the paper: |x - x̂| plus LPIPS, the hinge loss, -mean D(x̂) for the generator, 1e-4 in the
// adaptive weight, its upper limit, and discWeight.
import type { LossConfig } from "../data/formats/config.ts";
import { full, noGrad, type Random, relu, scope, type Tensor } from "../src/index.ts";
import { type Parts, scopeParts } from "../src/parts.ts";
import type { LPIPS } from "./lpips.ts";

/**
 * pixelWeight * mean |x - x̂| + perceptualWeight * p, where p is the mean LPIPS distance of x and x̂ (lpips.ts), which is small
 * for pictures that look alike. taming logs this loss under two names, nll_loss and rec_loss.
 */
export function reconstructionLoss(
  images: Tensor,
  reconstruction: Tensor,
  p: Tensor,
  perceptualWeight: number,
  pixelWeight: number = 1,
): Tensor {
  return scope(() => images.sub(reconstruction).abs().mean().mul(pixelWeight).add(p.mul(perceptualWeight)));
}

/** Returns the mean LPIPS over the batch, or zero if there is no network. */
export function perceptualLoss(
  lpips: LPIPS | null,
  images: Tensor,
  reconstruction: Tensor,
  dropout: Random | null,
): Parts<Tensor> {
  return scopeParts(function* () {
    if (!lpips) return full([], 0, images.backend);
    const real = noGrad(() => lpips.features(images));
    yield;
    const made = lpips.features(reconstruction);
    yield;
    return lpips.distance(made, real, { dropout }).mean();
  });
}

/** -mean D(x̂): low if the discriminator takes the reconstructions for real pictures. */
export function generatorLoss(fake: Tensor): Tensor {
  return scope(() => fake.mean().neg());
}

/** hinge: (mean relu(1 - D(x)) + mean relu(1 + D(x̂))) / 2; vanilla: the same with softplus(-D(x)) and softplus(D(x̂)). */
export function discriminatorLoss(real: Tensor, fake: Tensor, kind: LossConfig["discLoss"]): Tensor {
  return scope(() =>
    kind === "hinge"
      ? relu(real.neg().add(1)).mean().add(relu(fake.add(1)).mean()).mul(0.5)
      : real.neg().softplus().mean().add(fake.softplus().mean()).mul(0.5)
  );
}

/** The factor of both losses of the GAN at a step: 0 before `discStart`, so that the autoencoder first learns alone. */
export function discriminatorFactor({ discStart, discFactor }: LossConfig, globalStep: number): number {
  return globalStep < discStart ? 0 : discFactor;
}

/**
 * How much longer the gradient of the reconstruction is than that of the generator's loss g at the decoder's last weight W:
 * |dnll/dW| / (|dg/dW| + 1e-4). Its arguments are the two lengths.
 */
export function gradientRatio(nllLength: Tensor, generatorLength: Tensor): Tensor {
  return scope(() => nllLength.div(generatorLength.add(1e-4)));
}

/**
 * The weight of the generator's loss: discWeight * clamp(ratio, 0, 1e4), but at most `maxWeight`. At W, and only there, the
 * gradient of the GAN is then about discWeight times as long as that of the reconstruction.
 */
export function adaptiveWeight(ratio: Tensor, discWeight: number, maxWeight: number | null = null): Tensor {
  return scope(() => {
    const weight = ratio.clamp(0, 1e4).mul(discWeight);
    return maxWeight === null ? weight : weight.clamp(0, maxWeight);
  });
}

/**
 * LeCam's regularizer of the discriminator (Tseng et al. 2021, equation 4, with the ReLUs of its code):
 * mean relu(D(x) - fake)^2 + mean relu(real - D(x̂))^2, where `real` and `fake` are the averages of earlier logits of pictures
 * and of reconstructions.
 */
export function lecamLoss(
  real: Tensor,
  fake: Tensor,
  averages: { readonly real: Tensor; readonly fake: Tensor },
): Tensor {
  return scope(() => {
    const above = relu(real.sub(averages.fake)).square().mean();
    return above.add(relu(averages.real.sub(fake)).square().mean());
  });
}
