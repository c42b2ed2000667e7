// The kinds of quantizers by their names. No other place decides which kind a model has: a new quantizer is one file and one
// line here, or, outside of this repository, one call of `registerQuantizer`.
import type { VQModelConfig } from "../../data/formats/config.ts";
import { callback, check, checkValues, flag, needed, object, rule, type Rules } from "../../src/check.ts";
import type { Init } from "../init.ts";
import { gumbel } from "./gumbel_quantizer.ts";
import type { Quantizer, QuantizerKind } from "./quantizer.ts";
import { nearest, normalized } from "./vector_quantizer.ts";

const kinds = new Map([nearest, normalized, gumbel].map((kind) => [kind.name, kind]));

const rules: Rules<QuantizerKind> = {
  name: needed(
    rule(
      'a name of small letters, digits, "-" and "_"',
      (name) => typeof name === "string" && /^[a-z][a-z0-9_-]{0,39}$/.test(name),
    ),
  ),
  trains: needed(flag),
  make: needed(callback),
};

/**
 * Adds a kind of quantizer, so that models whose config names it can be made, trained, saved and loaded.
 * @example One that is in a file of your own (examples/own_quantizer.ts has a whole one)
 * ```ts
 * import { preset, type QuantizerKind, Random, registerQuantizer, VQGAN } from "@tessera/vqgan/core";
 *
 * function modelWith(kind: QuantizerKind): VQGAN {
 *   registerQuantizer(kind);
 *   return new VQGAN(preset("faces", { quantizer: kind.name }), new Random(1));
 * }
 * ```
 * @throws TypeError if a field is missing; Error if there is another quantizer of this name
 */
export function registerQuantizer(kind: QuantizerKind): void {
  check("registerQuantizer", "the argument", kind, object);
  checkValues("registerQuantizer", kind, rules);
  if (kinds.has(kind.name) && kinds.get(kind.name) !== kind) {
    throw new Error(`registerQuantizer: there is another quantizer "${kind.name}": give yours another name`);
  }
  kinds.set(kind.name, kind);
}

/** The names of all kinds, for messages. */
export function quantizerNames(): string[] {
  return [...kinds.keys()];
}

/** The kind that a config names. @throws Error naming those that there are */
export function quantizerKind(name: string): QuantizerKind {
  const kind = kinds.get(name);
  if (kind) return kind;
  throw new Error(
    `there is no quantizer "${name}", but ${quantizerNames().join(", ")}; registerQuantizer() adds one`,
  );
}

/** Makes the quantizer that a config asks for. */
export function makeQuantizer(config: VQModelConfig, init: Init): Quantizer {
  return quantizerKind(config.quantizer).make(config, init);
}
