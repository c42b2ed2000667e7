// One training step from top to bottom: forward pass, losses and gradients of the autoencoder, then of the
// discriminator. The gradients stay in `.grad`, summed over all ranks. They are applied by a separate function, so that
// clipping and averaging of weights can be done in between.
import {
  discriminatorFactor,
  discriminatorLoss,
  generatorLoss,
  gradientRatio,
  perceptualLoss,
  reconstructionLoss,
} from "../nn/losses.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import {
  callback,
  check,
  checkOptions,
  checkValues,
  flag,
  needed,
  notNegative,
  object,
  orNull,
  positive,
  type Rule,
  rule,
  type Rules,
  whole,
} from "../src/check.ts";
import { backwardParts, gradParts } from "../src/autograd.ts";
import { asyncScope, grad, noGrad, type Random, scope, type Tensor } from "../src/index.ts";
import { checkTensor } from "../src/operands.ts";
import { finish, inTurns, type Parts, pause, scopeParts } from "../src/parts.ts";
import { oneRank, type Ranks, sumGradients } from "./distributed/ranks.ts";
import { Gan } from "./gan/gan.ts";
import { checkLearns, withGradient, withoutGradients } from "./frozen.ts";
import { average, constant, discriminatorLogs, generatorLogs, type Logs } from "./logs.ts";
import { anIdentity, aTerm, type IdentityLoss, type IdentityTerm } from "./identity.ts";
import type { Network } from "./optimizers.ts";
import { aRandom, checkBatches, checkModel, lossOf } from "./step_checks.ts";

/** How much the terms of the autoencoder's loss count, times what the config says. (For the GAN's it is `Gan.scale`.) */
export interface LossFactors {
  /** |x - x̂|, the difference of pixels. */
  readonly pixels: number;
  /** LPIPS. */
  readonly perceptual: number;
  /** The quantizer's loss. */
  readonly codebook: number;
}

/** The options of a step of one network. */
export interface StepOptions {
  /** The number of steps done so far, which is compared with `discStart`. */
  readonly globalStep: number;
  /** The factor of the gradients: 1 / number of accumulated batches. Logged values are not scaled. */
  readonly gradScale?: number;
  /** For f16: the factor by which the autoencoder's gradients are multiplied. They still contain it in `.grad`. */
  readonly lossScale?: number;
  /** The random numbers for dropout inside LPIPS, as in taming's training. Default: no dropout. */
  readonly lpipsDropout?: Random | null;
  /** The course and the balance of the GAN. Default: taming's. */
  readonly gan?: Gan;
  /** How much the other terms of the loss count. Default: 1 each. */
  readonly factors?: Partial<LossFactors>;
  /** The identity loss on these images, which `IdentityLoss.of` makes. Default: none. */
  readonly identity?: IdentityTerm | null;
}

/** The options of a step of both networks. */
export interface TrainingStepOptions extends Omit<StepOptions, "gradScale" | "identity"> {
  /** The identity loss, added to the reconstruction loss. Finding faces reads from the device. Default: none. */
  readonly identity?: IdentityLoss | null;
  /**
   * Shows the discriminator a reconstruction made after the autoencoder's update, as Lightning did. This costs another
   * forward pass. Default: the existing reconstruction is used.
   */
  readonly tamingExact?: boolean;
  /** The processes that train together; the gradients are averaged over all of them. Default: this one alone. */
  readonly ranks?: Ranks;
}

/** The GAN of steps that are given no other. */
const tamingGan = new Gan();
const aGan = rule("a Gan", (value) => value instanceof Gan);
const common = {
  globalStep: needed(whole(0)),
  lossScale: positive,
  lpipsDropout: orNull(aRandom),
  gan: aGan,
  factors: object,
};
const factorRules: Rules<LossFactors> = {
  pixels: notNegative,
  perceptual: notNegative,
  codebook: notNegative,
};
const stepOptions: Rule = { ...object, what: "an object such as { globalStep: 0 }" };
const rules: Rules<StepOptions> = { ...common, gradScale: positive, identity: orNull(aTerm) };
const trainingRules: Rules<TrainingStepOptions> = {
  ...common,
  tamingExact: flag,
  identity: orNull(anIdentity),
  ranks: object,
};

/** The result of a training step. */
export interface StepResult {
  /** The losses, averaged over the accumulated batches. */
  readonly logs: Logs;
  /** The tokens of each batch, i32 [B, h, w]. */
  readonly indices: Tensor[];
  /** The vectors of each batch that became these tokens, [B, h, w, embedDim]. */
  readonly latents: Tensor[];
}

/**
 * Runs one step of both networks, the generator's first as in taming, on one batch or on several whose gradients are
 * averaged. It reads nothing back from the device, unless there is an identity loss.
 *
 * Unlike in taming, the discriminator sees the reconstruction from before the generator's update, unless `tamingExact`
 * is set. So the gradients of several ranks are summed while it learns. As in taming, `apply` is called for the discriminator
 * before `discStart` too. Its gradients are zero then, but Adam counts these steps: its first real step is up to 1.58 times the
 * learning rate instead of 1.
 *
 * @param apply called when all gradients of a network are in `.grad`; it may change them and must end with
 * `applyGradients`
 * @returns tensors that belong to the surrounding scope
 * @throws if the images do not fit or memory runs out. All gradients are freed then, or the next step would add to them.
 * @example A step of both networks
 * ```ts
 * import { applyGradients, makeOptimizers, type Tensor, trainingStep, type VQGAN } from "@tessera/vqgan/core";
 *
 * async function step(model: VQGAN, images: Tensor): Promise<void> {
 *   const optimizers = makeOptimizers(model, 4.5e-6);
 *   await trainingStep(model, [images], { globalStep: 0 }, (network) => applyGradients(optimizers[network]));
 * }
 * ```
 */
export async function trainingStep(
  model: VQGAN,
  batches: readonly Tensor[],
  options: TrainingStepOptions,
  apply: (network: Network) => void | Promise<void>,
): Promise<StepResult> {
  checkModel("trainingStep", model);
  checkBatches("trainingStep", batches);
  checkOptions("trainingStep", options, trainingRules);
  checkOptions("trainingStep: factors", options.factors ?? {}, factorRules);
  check("trainingStep", "apply", apply, callback);
  const { ranks = oneRank, tamingExact } = options;
  const learnFrom = (images: Tensor, isLast: boolean) =>
    asyncScope(async () => {
      const identity = await options.identity?.of(images);
      const scaled = { ...options, gradScale: 1 / (batches.length * ranks.size), identity };
      const parts = generatorParts(model, images, scaled);
      const { logs, reconstruction, indices, latents } = await inTurns(images.backend, parts);
      const summed = isLast ? sumGradients(ranks, model.generatorParameters()) : null;
      summed?.catch(() => {}); // an error of the discriminator's pass comes first
      const updateGenerator = async () => {
        await summed;
        if (isLast) await apply("generator");
      };
      if (tamingExact) await updateGenerator();
      await pause(images.backend); // otherwise signals and finished reads would wait for many steps

      const shown = tamingExact ? noGrad(() => model.forward(images).reconstruction) : reconstruction;
      const discriminatorLogs = await inTurns(
        images.backend,
        discriminatorParts(model, images, shown, scaled),
      );
      if (!tamingExact) await updateGenerator();
      if (isLast) {
        await sumGradients(ranks, model.discriminatorParameters());
        await apply("discriminator");
      }
      await pause(images.backend);
      return { logs: { ...logs, ...discriminatorLogs }, indices, latents };
    });
  return await asyncScope(async () => {
    const results: { logs: Logs; indices: Tensor; latents: Tensor }[] = [];
    try {
      for (const [i, images] of batches.entries()) {
        results.push(await learnFrom(images, i === batches.length - 1));
      }
    } catch (error) {
      model.zeroGrad();
      throw error;
    }
    return {
      logs: results.length === 1 ? results[0].logs : average(results.map(({ logs }) => logs)),
      indices: results.map(({ indices }) => indices),
      latents: results.map(({ latents }) => latents),
    };
  });
}

/** The result of a step of the autoencoder, in training or in validation. */
export interface GeneratorStep {
  /**
   * From `generatorStep`: train/ total_loss, quant_loss, nll_loss, rec_loss, p_loss, d_weight, d_ratio, disc_factor, g_loss,
   * and identity_loss if there is one. From `validationStep`: the same without d_ratio under val/, and val/ disc_loss,
   * logits_real, logits_fake, logit_gap, disc_acc_real, disc_acc_fake.
   */
  readonly logs: Logs;
  /** [B, H, W, 3], without a graph for gradients. */
  readonly reconstruction: Tensor;
  /** The tokens, i32 [B, H/f, W/f]. */
  readonly indices: Tensor;
  /** The vectors that became these tokens, [B, H/f, W/f, embedDim], without a graph for gradients. */
  readonly latents: Tensor;
}

/**
 * Forward, losses and one backward of the autoencoder. Two losses depend on the reconstructed image: `nll`, the
 * reconstruction loss, and `g`, the generator's loss. The adaptive weight compares their gradients at the last layer. So
 * first their gradients at the image, `u` and `v`, are computed, and each is carried on to `decoder.conv_out.weight`. Then
 * one backward through the whole network starts from (u + weight * factor * v) * gradScale, where factor is
 * `discFactor` from `discStart` on and 0 before; `gan` may change weight and factor.
 *
 * Parameters that are frozen (`setRequiresGrad(false)`) get no gradient and stay frozen. The adaptive weight does not
 * depend on what is frozen: it is computed at `decoder.conv_out.weight` even if that is frozen.
 *
 * @throws if everything is frozen
 */
export function generatorStep(model: VQGAN, images: Tensor, options: StepOptions): GeneratorStep {
  return finish(generatorParts(model, images, options));
}

/** `generatorStep` in parts, between which other events may run. */
function generatorParts(model: VQGAN, images: Tensor, options: StepOptions): Parts<GeneratorStep> {
  checkModel("generatorStep", model);
  checkTensor("generatorStep", images);
  checkStep("generatorStep", options);
  lossOf(model);
  checkLearns(model);
  const { weight } = model.decoder.conv_out;
  return scopeParts(() => withGradient(weight, learnGenerator(model, images, options)));
}

function* learnGenerator(model: VQGAN, images: Tensor, options: StepOptions): Parts<GeneratorStep> {
  const { lossconfig } = model.config;
  const { perceptual_loss: lpips, discriminator } = lossOf(model);
  const { globalStep, gradScale = 1, lossScale = 1, gan = tamingGan, identity } = options;
  const { pixels = 1, perceptual = 1, codebook = 1 } = options.factors ?? {};
  const codebookWeight = lossconfig.codebookWeight * codebook;
  const last = model.decoder.conv_out.weight;
  const { reconstruction, codebookLoss, indices, latents } = yield* model.forwardParts(images);
  const image = reconstruction.detach();
  image.requiresGrad = true;
  /** The gradient of a loss at the image. */
  const atImageOf = function* (loss: Tensor): Parts<Tensor> {
    return (yield* gradParts([loss], [image], { gradOutputs: [constant(lossScale, images)] }))[0];
  };

  const { nll, p, i, u } = yield* scopeParts(function* () {
    const p = yield* perceptualLoss(lpips, images, image, options.lpipsDropout ?? null);
    const nll = reconstructionLoss(images, image, p, lossconfig.perceptualWeight * perceptual, pixels);
    const i = identity ? identity.call(image).mul(identity.weight) : null;
    return { nll, p, i, u: yield* atImageOf(i ? nll.add(i) : nll) };
  });
  const { g, v } = yield* withoutGradients(discriminator, function* () {
    const g = generatorLoss(discriminator.call(image));
    return { g, v: yield* atImageOf(g) };
  });

  const ratio = scope(() => {
    const lengthAtLast = (gradient: Tensor) =>
      grad([reconstruction], [last], { gradOutputs: [gradient], retainGraph: true })[0].square().sum()
        .sqrt().mul(1 / lossScale);
    return gradientRatio(lengthAtLast(u), lengthAtLast(v));
  });
  yield;
  const weight = gan.weight(ratio, lossconfig), factor = gan.generatorFactor(lossconfig, globalStep);
  const atImage = scope(() => u.add(v.mul(weight.mul(factor))).mul(gradScale));
  const atCodebookLoss = constant(codebookWeight * gradScale * lossScale, images);
  const learnsCodes = codebookLoss.node !== null; // false if encoder and codebook are frozen
  if (learnsCodes) yield* backwardParts([reconstruction, codebookLoss], [atImage, atCodebookLoss]);
  else yield* backwardParts(reconstruction, [atImage]);

  const quant = codebookLoss.detach();
  const total = (i ? nll.add(i) : nll).add(g.mul(weight).mul(factor)).add(quant.mul(codebookWeight)).detach();
  const logs: Logs = {
    ...generatorLogs("train", { total, quant, nll, p, weight, factor, g }),
    "train/d_ratio": ratio,
    ...i ? { "train/identity_loss": i.detach().mul(1 / identity!.weight) } : {},
  };
  return { logs, reconstruction: reconstruction.detach(), indices, latents };
}

/**
 * Forward, loss and backward of the discriminator on real pictures and reconstructions. No gradient flows back to the
 * autoencoder. Before `discStart` the gradients are exactly zero, but the averages of batch norm do change. If the
 * discriminator is frozen, its losses are returned and no gradients are computed.
 *
 * @returns train/ disc_loss, logits_real, logits_fake, logit_gap, disc_acc_real, disc_acc_fake; with LeCam also lecam_loss,
 * which is not part of disc_loss, so that 1 stays what a guess costs (hinge)
 * @throws if everything is frozen
 */
export function discriminatorStep(
  model: VQGAN,
  images: Tensor,
  reconstruction: Tensor,
  options: StepOptions,
): Logs {
  return finish(discriminatorParts(model, images, reconstruction, options));
}

/** `discriminatorStep` in parts, between which other events may run. */
function discriminatorParts(
  model: VQGAN,
  images: Tensor,
  reconstruction: Tensor,
  options: StepOptions,
): Parts<Logs> {
  checkModel("discriminatorStep", model);
  for (const pictures of [images, reconstruction]) checkTensor("discriminatorStep", pictures);
  checkStep("discriminatorStep", options);
  lossOf(model);
  checkLearns(model);
  return scopeParts(() => learnDiscriminator(model, images, reconstruction, options));
}

function* learnDiscriminator(
  model: VQGAN,
  images: Tensor,
  reconstruction: Tensor,
  { globalStep, gradScale = 1, gan = tamingGan }: StepOptions,
): Parts<Logs> {
  const { lossconfig } = model.config, { discriminator } = lossOf(model);
  const factor = discriminatorFactor(lossconfig, globalStep);
  const real = discriminator.call(images.detach());
  yield;
  const fake = discriminator.call(reconstruction.detach());
  yield;
  const loss = discriminatorLoss(real, fake, lossconfig.discLoss).mul(factor);
  const lecam = factor > 0 ? gan.lecam?.loss(real, fake) : undefined;
  const logs = noGrad(() => discriminatorLogs("train", loss.detach(), real, fake));
  const total = lecam ? loss.add(lecam.mul(gan.terms.lecam * factor)) : loss;
  if (total.node) yield* backwardParts(total, [constant(gradScale, images)]);
  return lecam ? { ...logs, "train/lecam_loss": lecam.detach() } : logs;
}

/** Checks the options of a step of one network, which may have those of `trainingStep` too. */
function checkStep(who: string, options: StepOptions): void {
  check(who, "options", options, stepOptions);
  checkValues(who, options, rules);
  checkOptions(`${who}: factors`, options.factors ?? {}, factorRules);
}
