// The losses of a batch without gradients, as validation measures them.
import {
  discriminatorFactor,
  discriminatorLoss,
  generatorLoss,
  perceptualLoss,
  reconstructionLoss,
} from "../nn/losses.ts";
import { inEvaluation } from "../nn/module.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import { check, whole } from "../src/check.ts";
import type { Tensor } from "../src/index.ts";
import { checkTensor } from "../src/operands.ts";
import { finish, type Parts, scopeParts } from "../src/parts.ts";
import { constant, discriminatorLogs, generatorLogs } from "./logs.ts";
import type { GeneratorStep } from "./step.ts";
import { checkModel, lossOf } from "./step_checks.ts";

/**
 * Computes all losses of a batch without gradients, in evaluation mode. As in taming, the GAN's loss is not part of
 * val/total_loss: without gradients there is no adaptive weight, and val/d_weight is 0.
 */
export function validationStep(model: VQGAN, images: Tensor, globalStep: number): GeneratorStep {
  return finish(validationParts(model, images, globalStep));
}

/** `validationStep` in parts, between which other events may run. */
export function validationParts(model: VQGAN, images: Tensor, globalStep: number): Parts<GeneratorStep> {
  checkModel("validationStep", model);
  checkTensor("validationStep", images);
  check("validationStep", "globalStep", globalStep, whole(0));
  lossOf(model);
  return scopeParts(() => inEvaluation(model, measure(model, images, globalStep)), false);
}

function* measure(model: VQGAN, images: Tensor, globalStep: number): Parts<GeneratorStep> {
  const { lossconfig } = model.config;
  const { perceptual_loss: lpips, discriminator } = lossOf(model);
  const { reconstruction, codebookLoss: quant, indices, latents } = yield* model.forwardParts(images);
  const p = yield* perceptualLoss(lpips, images, reconstruction, null);
  const nll = reconstructionLoss(images, reconstruction, p, lossconfig.perceptualWeight);
  const real = discriminator.call(images), fake = discriminator.call(reconstruction);
  yield;
  const factor = discriminatorFactor(lossconfig, globalStep);
  const total = nll.add(quant.mul(lossconfig.codebookWeight));
  const g = generatorLoss(fake);
  const loss = discriminatorLoss(real, fake, lossconfig.discLoss).mul(factor);
  const weight = constant(0, images);
  const logs = {
    ...generatorLogs("val", { total, quant, nll, p, weight, factor, g }),
    ...discriminatorLogs("val", loss, real, fake),
  };
  return { logs, reconstruction, indices, latents };
}
