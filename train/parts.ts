// The parts of a model by their names: which parameters belong to each, which of them learn, and at which rate. In taming
// quant_conv belongs to encoding and post_quant_conv to decoding.
import type { VQGAN } from "../nn/vqgan.ts";
import { isList, oneOf, positive, type Rule, rule, shown } from "../src/check.ts";
import { checkModel } from "./step_checks.ts";

/** A part of a model. `attention` is the attention blocks of encoder and decoder, which are also in these. */
export type PartName = "encoder" | "codebook" | "decoder" | "attention" | "discriminator";

/** The learning rates of parts that have their own. */
export type PartRates = Readonly<Partial<Record<PartName, number>>>;

/** The keys of each part. */
const keys: Readonly<Record<PartName, RegExp>> = {
  encoder: /^(encoder|quant_conv)\./,
  codebook: /^quantize\./,
  decoder: /^(decoder|post_quant_conv)\./,
  attention: /^(encoder|decoder)\.(.*\.)?attn(_1)?\./,
  discriminator: /^loss\.discriminator\./,
};

/** The names of all parts. */
export const partNames = Object.keys(keys) as readonly PartName[];

const aPart: Rule = oneOf(...partNames);

/** The rule of a list of parts that learn. */
export const aListOfParts: Rule = rule(
  `a list of parts: all, or some of ${partNames.join(", ")}`,
  (value) =>
    isList(value) && (value as unknown[]).length > 0 &&
    (value as unknown[]).every((part) => part === "all" || aPart.accepts(part)),
);

/** The rule of the rates of parts. */
export const ratesOfParts: Rule = rule(
  `rates above 0 by part (${partNames.join(", ")})`,
  (value) =>
    typeof value === "object" && value !== null && !isList(value) &&
    Object.entries(value).every(([part, rate]) => aPart.accepts(part) && positive.accepts(rate)),
);

/** Whether a parameter belongs to a part. */
export function isIn(part: PartName, key: string): boolean {
  return keys[part].test(key);
}

/**
 * Lets these parts of a model learn and freezes all others, as `model.encoder.setRequiresGrad(false)` does for one. Frozen
 * parts take neither moments nor gradients, and `backward` does not go through what nothing learns from.
 * @throws TypeError if a name is misspelt; Error if the model lacks a part
 * @example Only the decoder, so that tokens stay what they are
 * ```ts
 * import { trainOnly, type VQGAN } from "@tessera/vqgan/core";
 *
 * const freeze = (model: VQGAN) => trainOnly(model, ["decoder"]);
 * ```
 */
export function trainOnly(model: VQGAN, parts: readonly (PartName | "all")[]): void {
  checkModel("trainOnly", model);
  if (!aListOfParts.accepts(parts)) {
    throw new TypeError(`trainOnly: the parts are ${shown(parts)}, expected ${aListOfParts.what}`);
  }
  const all = new Map([...model.generatorParameters(), ...model.discriminatorParameters()]);
  const wanted = parts.flatMap((part) =>
    part === "all" ? partNames.filter((name) => name !== "attention") : [part]
  );
  for (const part of parts) {
    if (part === "all" || [...all.keys()].some((key) => isIn(part, key))) continue;
    throw new Error(`trainOnly: the model has no ${part}`);
  }
  for (const [key, parameter] of all) parameter.requiresGrad = wanted.some((part) => isIn(part, key));
}

/** Whether tokens stay what they are: nothing learns that turns pictures into tokens. */
export function keepsTokens(parts: readonly (PartName | "all")[]): boolean {
  return parts.every((part) => part === "decoder" || part === "discriminator");
}

/** The parts that do not learn. */
export function frozenParts(parts: readonly (PartName | "all")[]): PartName[] {
  return parts.includes("all")
    ? []
    : partNames.filter((name) => name !== "attention" && !parts.includes(name));
}

/**
 * The factor of the learning rate for each parameter, if some parts have a rate of their own beside the common one, `lr`. That
 * of attention counts more than that of the half that it is in.
 */
export function rateFactors(rates: PartRates, lr: number): (key: string) => number {
  const byWeight = [...partNames].sort((a, b) => Number(b === "attention") - Number(a === "attention"));
  const own = byWeight.flatMap((part) =>
    rates[part] === undefined ? [] : [{ part, factor: rates[part] / lr }]
  );
  return (key) => own.find(({ part }) => isIn(part, key))?.factor ?? 1;
}
