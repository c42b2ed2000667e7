// VQGANs with the names of other libraries: the fixtures of fixtures/neighbours, whose weights are drawn from their names.
import type { Pickleable } from "../../data/formats/torch/pickle_write.ts";
import type { TensorToWrite } from "../../data/formats/values.ts";
import { filled, golden } from "./goldens.ts";

/** What a library computes from drawn weights. */
export interface Fixture {
  readonly shapes: Record<string, number[]>;
  readonly tokens: number[];
  readonly pixels: number[];
}

export const kinds = ["ldm", "gumbel", "diffusers", "llamagen"] as const;
export const fixtures = Object.fromEntries(
  kinds.map((name) => [name, golden<Fixture>(`neighbours/${name}`)]),
);

/** The weights of a fixture, which are drawn from their names. */
export function weightsOf(name: string, rename = (key: string) => key): TensorToWrite[] {
  return Object.entries(fixtures[name].shapes).map(([key, shape]) => ({
    name: rename(key),
    shape,
    dtype: "f32",
    data: () => filled(key, shape) as Float32Array<ArrayBuffer>,
  }));
}

/** A dict of tensors, as torch pickles it. */
export const dictOf = (tensors: readonly TensorToWrite[]): Map<string, Pickleable> =>
  new Map(tensors.map((tensor) => [tensor.name, tensor]));
