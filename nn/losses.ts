// VQLPIPSWithDiscriminator: |x - x̂| + LPIPS + adaptively weighted GAN loss + codebook loss (Esser et al. 2021, eq. 5-7),
// as one generator step and one discriminator step that leave gradients in `.grad`.
import { backward, full, grad, noGrad, type Random, relu, scope, type Tensor } from "../src/index.ts";
import type { LossConfig } from "../data/formats/config.ts";
import { NLayerDiscriminator } from "./discriminator.ts";
import type { Init } from "./init.ts";
import { LPIPS } from "./lpips.ts";
import { Module } from "./module.ts";
import type { VQGAN } from "./vqgan.ts";

/** The networks that training needs beside the autoencoder. `perceptual_loss` is null at perceptualWeight 0. */
export class VQLPIPSWithDiscriminator extends Module {
  readonly perceptual_loss: LPIPS | null;
  readonly discriminator: NLayerDiscriminator;

  constructor(config: LossConfig, init: Init) {
    super();
    this.perceptual_loss = config.perceptualWeight === 0 ? null : new LPIPS(config.perceptualNet);
    this.discriminator = new NLayerDiscriminator(
      { ndf: config.discNdf, numLayers: config.discNumLayers },
      init,
    );
  }
}

export interface StepOptions {
  /** Batches seen so far; compared with `discStart`. */
  readonly globalStep: number;
  /** Multiplies the gradients: 1 / batches accumulated. Logged values are not scaled. */
  readonly gradScale?: number;
  /** With f16: what the autoencoder's gradients are multiplied with on their way, and arrive with in `.grad`. */
  readonly lossScale?: number;
  /** Dropout inside LPIPS as in taming's training; off if absent. */
  readonly lpipsDropout?: Random | null;
}

/** One-element tensors under taming's names; reading them is left to whoever wants them. */
export type Logs = Record<string, Tensor>;

export interface GeneratorStep {
  /** train/ total_loss, quant_loss, nll_loss, rec_loss, p_loss, d_weight, disc_factor, g_loss. */
  readonly logs: Logs;
  /** [B, H, W, 3], without history. */
  readonly reconstruction: Tensor;
  /** i32 [B, H/f, W/f]. */
  readonly indices: Tensor;
}

/**
 * Forward, losses and one backward of the autoencoder. The adaptive weight needs the gradients of both losses at the
 * last layer alone, so they are taken at the image (u, v), carried to `decoder.conv_out.weight`, and the rest of the
 * network is walked once with u + weight * v.
 */
export function generatorStep(model: VQGAN, images: Tensor, options: StepOptions): GeneratorStep {
  const { lossconfig } = model.config;
  const { perceptual_loss: lpips, discriminator } = lossOf(model);
  const { globalStep, gradScale = 1, lossScale = 1 } = options;
  return scope(() => {
    const { reconstruction, codebookLoss, indices } = model.forward(images);
    const image = reconstruction.detach();
    image.requiresGrad = true;

    const { nll, p, u } = scope(() => {
      const p = perceptual(lpips, images, image, options.lpipsDropout ?? null);
      const nll = nllLoss(images, image, p, lossconfig);
      return { nll, p, u: grad([nll], [image], { gradOutputs: [full([], lossScale)] })[0] };
    });
    const { g, v } = frozen(discriminator, () => {
      const g = discriminator.call(image).mean().neg();
      return { g, v: grad([g], [image], { gradOutputs: [full([], lossScale)] })[0] };
    });

    const weight = scope(() => {
      const last = model.decoder.conv_out.weight;
      const normAtLast = (gradient: Tensor) =>
        grad([reconstruction], [last], { gradOutputs: [gradient], retainGraph: true })[0].square().sum()
          .sqrt().mul(1 / lossScale);
      const ratio = normAtLast(u).div(normAtLast(v).add(1e-4));
      return ratio.clamp(0, 1e4).mul(lossconfig.discWeight);
    });
    const factor = globalStep < lossconfig.discStart ? 0 : lossconfig.discFactor;
    const atImage = scope(() => u.add(v.mul(weight.mul(factor))).mul(gradScale));
    backward([reconstruction, codebookLoss], [
      atImage,
      full([], lossconfig.codebookWeight * gradScale * lossScale),
    ]);

    const quant = codebookLoss.detach();
    const total = nll.add(g.mul(weight).mul(factor)).add(quant.mul(lossconfig.codebookWeight)).detach();
    const logs = generatorLogs("train", { total, quant, nll, p, weight, factor, g });
    return { logs, reconstruction: reconstruction.detach(), indices };
  });
}

/**
 * Forward, loss and backward of the discriminator on real pictures and reconstructions, whose history is ignored.
 * Before `discStart` the gradients are exactly zero, and batch norm's averages move nevertheless.
 *
 * @returns train/ disc_loss, logits_real, logits_fake.
 */
export function discriminatorStep(
  model: VQGAN,
  images: Tensor,
  reconstruction: Tensor,
  options: StepOptions,
): Logs {
  const { lossconfig } = model.config;
  const { discriminator } = lossOf(model);
  const factor = options.globalStep < lossconfig.discStart ? 0 : lossconfig.discFactor;
  return scope(() => {
    const real = discriminator.call(images.detach());
    const fake = discriminator.call(reconstruction.detach());
    const loss = discriminatorLoss(real, fake, lossconfig.discLoss).mul(factor);
    const logs = noGrad(() => discriminatorLogs("train", loss.detach(), real, fake));
    backward(loss, [full(loss.shape, options.gradScale ?? 1)]);
    return logs;
  });
}

/**
 * All losses of a batch without gradients, in evaluation mode. As in taming the GAN term does not enter
 * val/total_loss: without gradients there is no adaptive weight, and val/d_weight is 0.
 */
export function validationStep(model: VQGAN, images: Tensor, globalStep: number): GeneratorStep {
  const { lossconfig } = model.config;
  const { perceptual_loss: lpips, discriminator } = lossOf(model);
  const training = model.training;
  model.eval();
  try {
    return scope(() =>
      noGrad(() => {
        const { reconstruction, codebookLoss: quant, indices } = model.forward(images);
        const p = perceptual(lpips, images, reconstruction, null);
        const nll = nllLoss(images, reconstruction, p, lossconfig);
        const real = discriminator.call(images), fake = discriminator.call(reconstruction);
        const factor = globalStep < lossconfig.discStart ? 0 : lossconfig.discFactor;
        const total = nll.add(quant.mul(lossconfig.codebookWeight));
        const g = fake.mean().neg();
        const loss = discriminatorLoss(real, fake, lossconfig.discLoss).mul(factor);
        const logs = {
          ...generatorLogs("val", { total, quant, nll, p, weight: full([], 0), factor, g }),
          ...discriminatorLogs("val", loss, real, fake),
        };
        return { logs, reconstruction, indices };
      })
    );
  } finally {
    model.train(training);
  }
}

/** hinge: (mean relu(1 - D(x)) + mean relu(1 + D(x̂))) / 2; vanilla: softplus(-D(x)) and softplus(D(x̂)) instead. */
export function discriminatorLoss(real: Tensor, fake: Tensor, kind: LossConfig["discLoss"]): Tensor {
  return scope(() =>
    kind === "hinge"
      ? relu(real.neg().add(1)).mean().add(relu(fake.add(1)).mean()).mul(0.5)
      : real.neg().softplus().mean().add(fake.softplus().mean()).mul(0.5)
  );
}

/** Mean LPIPS over the batch; zero without a network. */
function perceptual(
  lpips: LPIPS | null,
  images: Tensor,
  reconstruction: Tensor,
  dropout: Random | null,
): Tensor {
  if (!lpips) return full([], 0);
  return scope(() => {
    const real = noGrad(() => lpips.features(images));
    return lpips.distance(lpips.features(reconstruction), real, { dropout }).mean();
  });
}

/** mean |x - x̂| + perceptualWeight * p: what taming logs as both nll_loss and rec_loss. */
function nllLoss(images: Tensor, reconstruction: Tensor, p: Tensor, config: LossConfig): Tensor {
  return scope(() => images.sub(reconstruction).abs().mean().add(p.mul(config.perceptualWeight)));
}

function generatorLogs(
  split: "train" | "val",
  values: { total: Tensor; quant: Tensor; nll: Tensor; p: Tensor; weight: Tensor; factor: number; g: Tensor },
): Logs {
  return {
    [`${split}/total_loss`]: values.total,
    [`${split}/quant_loss`]: values.quant,
    [`${split}/nll_loss`]: values.nll.detach(),
    [`${split}/rec_loss`]: values.nll.detach(),
    [`${split}/p_loss`]: values.p.detach(),
    [`${split}/d_weight`]: values.weight,
    [`${split}/disc_factor`]: full([], values.factor),
    [`${split}/g_loss`]: values.g.detach(),
  };
}

function discriminatorLogs(split: "train" | "val", loss: Tensor, real: Tensor, fake: Tensor): Logs {
  return {
    [`${split}/disc_loss`]: loss,
    [`${split}/logits_real`]: real.mean(),
    [`${split}/logits_fake`]: fake.mean(),
  };
}

/** Runs `fn` in a scope in which the module's parameters ask for no gradient. */
function frozen<T>(module: Module, fn: () => T): T {
  module.setRequiresGrad(false);
  try {
    return scope(fn);
  } finally {
    module.setRequiresGrad(true);
  }
}

function lossOf(model: VQGAN): VQLPIPSWithDiscriminator {
  if (model.loss) return model.loss;
  throw new Error(
    "the model has no discriminator: build or load it with { withLoss: true } to train or validate",
  );
}
