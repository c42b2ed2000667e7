// The toy quantizer: the colours of a picture's pixels, and a few codes that learn to stand for them.
import { type Picture, Random } from "../../core.ts";
import { chromaOf } from "../toy/chroma.ts";
import { ToyQuantizer, type ToyState } from "../toy/toy_quantizer.ts";
import type { Engine } from "./engine.ts";

const toys = new WeakMap<Engine, ToyQuantizer>();

function toyOf(engine: Engine): ToyQuantizer {
  const toy = toys.get(engine);
  if (toy) return toy;
  throw new Error("the toy quantizer has no picture yet");
}

/**
 * Begins anew.
 * @param request `spread` is how far the codes begin from each other, around a place beyond grey, where no pixel is: the mean
 * of all colours, mirrored
 */
export async function toyStart(
  engine: Engine,
  { picture, codes, spread, seed }: {
    readonly picture: Picture;
    readonly codes: number;
    readonly spread: number;
    readonly seed: number;
  },
): Promise<ToyState> {
  const random = new Random(seed), { colors } = chromaOf(picture.pixels), mean = [0, 0];
  colors.forEach((value, i) => mean[i % 2] += value * 2 / colors.length);
  const start = Float32Array.from(
    { length: 2 * codes },
    (_, i) => spread * (2 * random.next() - 1) - mean[i % 2],
  );
  const toy = new ToyQuantizer(colors, start, random.fork("restart"));
  toys.get(engine)?.dispose();
  toys.set(engine, toy);
  return await toy.state();
}

/** Lets the codes learn for some steps. */
export async function toySteps(
  engine: Engine,
  { steps, lr }: { readonly steps: number; readonly lr: number },
): Promise<ToyState> {
  const toy = toyOf(engine);
  for (let i = 0; i < steps; i++) toy.step(lr);
  return await toy.state();
}

/** Moves dead codes onto pixels. */
export async function toyRestart(
  engine: Engine,
  _: null,
): Promise<{ readonly state: ToyState; readonly moved: number[] }> {
  const toy = toyOf(engine), moved = await toy.restart();
  return { state: await toy.state(), moved };
}
