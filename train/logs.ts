// The losses of a step under taming's names.
import { full, greater, type Tensor } from "../src/index.ts";

/** One-element tensors under taming's names. The caller decides when to read them. */
export type Logs = Record<string, Tensor>;

/** The losses of the autoencoder. */
export function generatorLogs(
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
    [`${split}/disc_factor`]: constant(values.factor, values.total),
    [`${split}/g_loss`]: values.g.detach(),
  };
}

/**
 * The loss of the discriminator, and what it says of real and of reconstructed pictures: the mean logits, their gap, and the
 * shares of logits on the right side of 0.
 */
export function discriminatorLogs(split: "train" | "val", loss: Tensor, real: Tensor, fake: Tensor): Logs {
  const onReal = real.mean(), onFake = fake.mean();
  return {
    [`${split}/disc_loss`]: loss,
    [`${split}/logits_real`]: onReal,
    [`${split}/logits_fake`]: onFake,
    [`${split}/logit_gap`]: onReal.sub(onFake),
    [`${split}/disc_acc_real`]: greater(real, 0).mean(),
    [`${split}/disc_acc_fake`]: greater(fake.neg(), 0).mean(),
  };
}

/** The means of the losses of several batches. */
export function average(all: readonly Logs[]): Logs {
  return Object.fromEntries(
    Object.keys(all[0]).map((name) => {
      const sum = all.slice(1).reduce((sum, logs) => sum.add(logs[name]), all[0][name]);
      return [name, sum.mul(1 / all.length)];
    }),
  );
}

/** A tensor of one number, on the device of another tensor. */
export function constant(value: number, beside: Tensor): Tensor {
  return full([], value, beside.backend);
}
