// What the authors' own stack wrote and computed (tests/fixtures/authors, whose README says how): checkpoints in log folders
// such as Lightning makes, and the numbers of the real taming in float64. Also how Tessera's are compared with them.
import { expect } from "bun:test";
import { createReadStream, createWriteStream, readFileSync } from "node:fs";
import { copyFile, cp, mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { fileURLToPath } from "node:url";
import { createGunzip } from "node:zlib";
import {
  momentName,
  readImage,
  type StoredTensor,
  toFloats,
  toPictures,
  trainingState,
} from "../../data/index.ts";
import type { VQGAN } from "../../nn/index.ts";
import { asyncScope, tensor } from "../../src/index.ts";
import { maxError } from "../support/numbers.ts";
import { withFile } from "../support/with_file.ts";

/** The path of a file in fixtures/authors. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`../fixtures/authors/${name}`, import.meta.url));
}

export function expected<T>(name: string): T {
  return JSON.parse(readFileSync(fixture(`${name}.json`), "utf8")) as T;
}

export type LogName = "lightning108" | "fork140";

/** Makes a log folder of main.py's with its configs. @returns where its checkpoint has to be */
export async function makeLogFolder(folder: string, name: LogName = "lightning108"): Promise<string> {
  for (const name of ["checkpoints", "configs"]) await mkdir(join(folder, name), { recursive: true });
  const configs = fixture(`configs/${name}`);
  for (const file of await readdir(configs)) {
    await copyFile(join(configs, file), join(folder, "configs", file));
  }
  // the fork writes no last.ckpt
  return join(folder, "checkpoints", name === "fork140" ? "epoch=1-step=7.ckpt" : "last.ckpt");
}

/** Unpacks a checkpoint into a log folder. @returns its path */
export async function unpack(name: LogName, folder: string): Promise<string> {
  const path = await makeLogFolder(folder, name);
  await pipeline(createReadStream(fixture(`${name}.ckpt.gz`)), createGunzip(), createWriteStream(path));
  return path;
}

/** Copies what main.py was given in its working folder: the lists that its configs name, and the pictures in them. */
export async function copyPictures(folder: string): Promise<void> {
  for (const name of ["train.txt", "test.txt", "pictures"]) {
    await cp(fixture(name), join(folder, name), { recursive: true });
  }
}

/** What a model makes of one picture. */
export interface Inference {
  readonly grid: readonly number[];
  readonly ids: readonly number[];
  readonly pixel_sum: number;
  readonly pixel_abs_sum: number;
  readonly first_12: readonly number[];
  readonly last_12: readonly number[];
  /** The sum of all bytes of the picture as it is saved. */
  readonly png_sum: number;
}

export async function reconstruct(model: VQGAN, path: string): Promise<Inference> {
  const { pixels, width, height } = await readImage(path);
  return await asyncScope(async () => {
    const { indices } = model.encode(tensor(toFloats(pixels), [1, height, width, 3]));
    const picture = model.decodeTokens(indices), decoded = await picture.floats();
    return {
      grid: indices.shape.slice(1),
      ids: [...await indices.ints()],
      pixel_sum: total(decoded),
      pixel_abs_sum: total(decoded.map(Math.abs)),
      first_12: [...decoded.slice(0, 12)],
      last_12: [...decoded.slice(-12)],
      png_sum: total(toPictures(decoded, picture.shape, "signed")[0].pixels),
    };
  });
}

/** Expects equal tokens, and a picture that differs by rounding in float32: about ten times as much as was ever seen. */
export function expectSame(ours: Inference, theirs: Inference): void {
  expect([ours.grid, ours.ids]).toEqual([theirs.grid, theirs.ids]);
  const pixels = ({ first_12, last_12 }: Inference) => [...first_12, ...last_12];
  expect(maxError(pixels(ours), pixels(theirs))).toBeLessThan(2e-5);
  const sums = ({ pixel_sum, pixel_abs_sum }: Inference) => [pixel_sum, pixel_abs_sum];
  expect(maxError(sums(ours), sums(theirs))).toBeLessThan(4e-6 * theirs.pixel_abs_sum);
  expect(Math.abs(ours.png_sum - theirs.png_sum)).toBeLessThan(1e-5 * theirs.png_sum); // ties are rounded either way
}

/** All that was learnt in a checkpoint: weights by their keys, and the moments of both Adams by their `momentName`. */
export async function learntIn(path: string): Promise<Map<string, Float64Array>> {
  return await withFile(path, async (file) => {
    const learnt = new Map([...file.tensors].filter(([key]) => !key.startsWith("loss.perceptual_loss.")));
    const { optimizers } = (await trainingState(file))!;
    for (const [i, { moments }] of optimizers.entries()) {
      for (const [key, { expAvg, expAvgSq }] of moments) {
        learnt.set(momentName(i, "exp_avg", key), expAvg).set(momentName(i, "exp_avg_sq", key), expAvgSq);
      }
    }
    const read = async (t: StoredTensor) => Float64Array.from(await t.read(), Number);
    return new Map(await Promise.all([...learnt].map(async ([key, t]) => [key, await read(t)] as const)));
  });
}

/** A tensor in a few numbers: the values are those at floor(i n / 6), or all if there are fewer than six. */
export interface Summary {
  readonly sum: number;
  readonly sum_of_squares: number;
  readonly values: readonly number[];
}

export function summary(values: Float64Array): Summary {
  const n = values.length,
    places = n < 6 ? values.keys() : [0, 1, 2, 3, 4, 5].map((i) => Math.floor(i * n / 6));
  return {
    sum: total(values),
    sum_of_squares: total(values.map((v) => v * v)),
    values: Array.from(places, (place) => values[place]),
  };
}

/** The root of the mean of squares. */
export function rms(values: readonly number[] | Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum / values.length);
}

/** The losses that taming logs in one call of its training or validation step, for one of its two optimizers. */
export type Losses =
  & { readonly split: "train" | "val"; readonly global_step: number }
  & Record<string, number>;

/** Losses of the first step that no gradient has touched yet: they differ by rounding, as those measured before it do. */
const untouched = ["quant_loss", "nll_loss", "rec_loss", "p_loss", "g_loss", "logits_real"];

/**
 * Expects the metrics of a run to be taming's losses. taming logs each batch and counts the steps before it, Tessera logs
 * the mean of a step's batches and counts the step with it.
 * @param tolerances of the first step, the second and so on, relative where a loss is above 1
 */
export async function expectLosses(
  run: string,
  theirs: readonly Losses[],
  tolerances: readonly number[],
): Promise<void> {
  const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
  const start = theirs[0].global_step, seen = new Set<Losses>();
  for (const line of lines) {
    const ours: Record<string, number> = JSON.parse(line), steps = ours.step - start;
    const calls = theirs.filter(({ split, global_step }) =>
      `${split}/rec_loss` in ours && global_step === (split === "val" && steps === 0 ? start : ours.step - 1)
    );
    for (const call of calls) seen.add(call);
    for (const name of new Set(calls.flatMap((call) => Object.keys(call).filter((key) => key in ours)))) {
      const values = calls.flatMap((call) => call[name] ?? []), mean = total(values) / values.length;
      const isExact = steps === 0 || steps === 1 && untouched.some((loss) => name === `train/${loss}`);
      const tolerance = isExact ? 1e-6 : tolerances[steps - 1];
      if (!(Math.abs(ours[name] - mean) <= tolerance * Math.max(1, Math.abs(mean)))) {
        throw new Error(`step ${ours.step}: ${name} is ${ours[name]}, taming's is ${mean}`);
      }
    }
  }
  expect(seen.size).toBe(theirs.length);
}

function total(values: Iterable<number>): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
