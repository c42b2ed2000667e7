// Which parameters receive gradients: parts of a step switch some of them off or on, and put everything back afterwards.
import type { Module } from "../nn/module.ts";
import type { VQGAN } from "../nn/vqgan.ts";
import type { Tensor } from "../src/index.ts";
import { type Parts, scopeParts } from "../src/parts.ts";

/** Runs a computation in a scope in which no parameter of the module requires a gradient. */
export function* withoutGradients<T>(module: Module, start: () => Parts<T>): Parts<T> {
  const learning = [...module.namedParameters().values()].filter((p) => p.requiresGrad);
  for (const p of learning) p.requiresGrad = false;
  try {
    return yield* scopeParts(start);
  } finally {
    for (const p of learning) p.requiresGrad = true;
  }
}

/** Runs a computation in which `parameter` can receive gradients. If it is frozen, it and its `.grad` are restored afterwards. */
export function* withGradient<T>(parameter: Tensor, parts: Parts<T>): Parts<T> {
  const { requiresGrad, grad } = parameter;
  if (requiresGrad) return yield* parts;
  Object.assign(parameter, { requiresGrad: true, grad: null });
  try {
    return yield* parts;
  } finally {
    parameter.grad?.dispose();
    Object.assign(parameter, { requiresGrad, grad });
  }
}

/** @throws if everything that can be trained is frozen */
export function checkLearns(model: VQGAN): void {
  for (const parameters of [model.generatorParameters(), model.discriminatorParameters()]) {
    for (const p of parameters.values()) if (p.requiresGrad) return;
  }
  throw new Error(
    "every part of the model is frozen, so nothing can be trained: call setRequiresGrad(true) on the parts to train " +
      "(model.encoder, decoder, quantize, quant_conv, post_quant_conv or loss.discriminator)",
  );
}
