// Evaluates models on pictures: the numbers of all metrics with their intervals, the differences of two models, and the
// protocol by which they were made.
import { createHash } from "node:crypto";
import { ImageDataset } from "../../data/index.ts";
import type { VQGAN } from "../../nn/index.ts";
import { oneRank, type Ranks } from "../distributed/ranks.ts";
import { checkSame, checkSameBits, checkSameSettings } from "../distributed/same.ts";
import { together } from "../distributed/together.ts";
import { checkModel } from "../step_checks.ts";
import {
  aSignal,
  callback,
  check,
  checkOptions,
  object,
  orNull,
  rule,
  type Rules,
  text,
  whole,
} from "../../src/check.ts";
import { asyncScope, currentBackend } from "../../src/index.ts";
import { inTurns } from "../../src/parts.ts";
import { bootstrap, draws } from "./bootstrap.ts";
import { frechetParts } from "./frechet.ts";
import { measure, type Measured, type Totals } from "./measure.ts";
import { metrics } from "./metrics.ts";
import type { Judges, Row } from "./observe.ts";
import type { Evaluation, FaceResult, FrechetResult, ModelResult } from "./results.ts";
import { faceWords } from "./spaces.ts";

/** A model to evaluate. */
export interface NamedModel {
  /** What it is called in the results. */
  readonly name: string;
  /** The model, in evaluation mode. */
  readonly model: VQGAN;
}

/** How models are evaluated. */
export interface EvaluateOptions extends Partial<Judges> {
  /** The number of pictures that are computed together. Default 1. */
  readonly batch?: number;
  /** The seed of the bootstrap. Default 0. */
  readonly seed?: number;
  /** What the protocol says beside what is known here, such as where the networks come from. */
  readonly notes?: Readonly<Record<string, string>>;
  /**
   * The processes that share the pictures, each with the same arguments. Rank 0 adds up, and all get the result. Its numbers
   * have the same bits for any number of ranks. Default: this process alone.
   */
  readonly ranks?: Ranks;
  /** Called on rank 0 with the number of pictures done, and of all of them. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Called on rank 0 before the Fréchet distances of a space are computed, which may take minutes. */
  readonly onFrechet?: (space: string) => void;
  /** Aborting it makes the function reject with its reason. */
  readonly signal?: AbortSignal;
}

const isDataset = rule("an ImageDataset", (value) => value instanceof ImageDataset);
const rules: Rules<EvaluateOptions> = {
  lpips: rule("a list of LPIPS networks", (value) => Array.isArray(value)),
  spaces: rule("a list of feature spaces", (value) => Array.isArray(value)),
  faces: orNull(object),
  batch: whole(1),
  seed: whole(0),
  notes: object,
  ranks: object,
  onProgress: callback,
  onFrechet: callback,
  signal: aSignal,
};

/**
 * Evaluates models on the same pictures. Reconstructions are rounded to 8 bits before anything is measured, as in a file.
 * @param pictures a data set that does not shuffle, whose size is a multiple of each model's factor
 * @throws if a size does not fit, none of the pictures can be read, or ranks have other arguments; RankFailedError or
 * RankStoppedError if another rank has failed or was told to stop
 * @example Two checkpoints
 * ```ts
 * import { evaluate, ImageDataset, loadFaceNetwork, VQGAN } from "@tessera/vqgan";
 *
 * const pictures = await ImageDataset.open("faces/", { size: 128, shuffle: false });
 * const models = [{ name: "one", model: await VQGAN.load("last.ckpt") }];
 * const { models: [{ metrics, faces }] } = await evaluate(models, pictures, { faces: await loadFaceNetwork() });
 * console.log(metrics.psnr.mean, metrics.psnr.low, metrics.psnr.high, faces?.same);
 * ```
 */
export async function evaluate(
  models: readonly NamedModel[],
  pictures: ImageDataset,
  options: EvaluateOptions = {},
): Promise<Evaluation> {
  const { lpips = [], spaces = [], faces = null, batch = 1, seed = 0, ranks = oneRank, signal } = options;
  checkOptions("evaluate", options, rules);
  if (models.length === 0) throw new Error("evaluate: there are no models");
  check("evaluate", "the second argument", pictures, isDataset);
  for (const { name, model } of models) {
    check("evaluate", "the name of a model", name, text);
    checkModel("evaluate", model);
    if (pictures.options.size % model.factor !== 0) {
      throw new Error(
        `evaluate: pictures of ${pictures.options.size} pixels do not fit ${name}, which has a token for each ${model.factor}`,
      );
    }
  }
  const judges: Judges = { lpips, spaces, faces };
  await checkSameWork(models, pictures, judges, { batch, seed }, ranks);
  const totals = await measure(models.map(({ model }) => model), pictures, judges, {
    batch,
    ranks,
    signal,
    onProgress: (done) => options.onProgress?.(done, pictures.length),
  });
  const sum = () => totals && evaluationOf(models, pictures, judges, totals, options);
  const [evaluation] = await together(ranks, "the end of the evaluation", sum, signal);
  return evaluation!;
}

/** @throws Error if ranks have other pictures, models, networks or settings */
async function checkSameWork(
  models: readonly NamedModel[],
  { paths, options: { size, crop, resize } }: ImageDataset,
  { lpips, spaces, faces }: Judges,
  { batch, seed }: { readonly batch: number; readonly seed: number },
  ranks: Ranks,
): Promise<void> {
  if (ranks.size === 1) return;
  const hash = createHash("sha1").update(JSON.stringify(paths)).digest("hex");
  const networks = [...lpips.map(({ kind }) => kind), ...spaces.map(({ name }) => name)];
  const names = models.map(({ name }) => name);
  await checkSameSettings(ranks, { names, size, crop, resize, batch, seed, networks, faces: faces !== null });
  await checkSame(ranks, "pictures", `${paths.length}, ${hash}`);
  const modules = [...models.map(({ model }) => model), ...lpips, ...faces ? [faces] : []];
  await checkSameBits(
    ranks,
    modules.flatMap((module) => [...module.stateDict().values()]),
    "give all ranks the same files",
  );
}

async function evaluationOf(
  models: readonly NamedModel[],
  pictures: ImageDataset,
  judges: Judges,
  { measured, paths, strangers }: Totals,
  options: EvaluateOptions,
): Promise<Evaluation> {
  const { batch = 1, seed = 0, notes = {} } = options;
  if (paths.length === 0) throw new Error(`none of the ${pictures.length} pictures can be read`);
  const results: ModelResult[] = [];
  for (const [i, one] of measured.entries()) {
    results.push(await resultOf(models[i], one, judges, pictures.options.size, strangers, options));
  }
  const differences = measured.slice(1).map((one) =>
    bootstrap(columnsOf(one.rows.map((row, i) => less(row, measured[0].rows[i]))), paths.length, seed)
  );
  return {
    protocol: { ...protocolOf(pictures, paths.length, judges, seed, batch, results), ...notes },
    models: results,
    differences,
    pictures: paths,
    warnings: warningsOf(results, pictures.length - paths.length),
  };
}

function less(a: Row, b: Row): Row {
  return Object.fromEntries(Object.entries(a).map(([name, value]) => [name, value - b[name]]));
}

/** The numbers of all pictures by metric. */
function columnsOf(rows: readonly Row[]): Record<string, Float64Array> {
  const names = metrics.map(({ name }) => name).filter((name) => rows.some((row) => name in row));
  return Object.fromEntries(names.map((name) => [name, Float64Array.from(rows, (row) => row[name])]));
}

async function resultOf(
  { name, model }: NamedModel,
  { rows, usage, tokensEach, moments, worst }: Measured,
  { spaces, faces }: Judges,
  size: number,
  strangers: number,
  { seed = 0, onFrechet, signal }: EvaluateOptions,
): Promise<ModelResult> {
  const { used, usage: share, perplexity, total } = usage.summary();
  const frechet: FrechetResult[] = [];
  for (const [space, { originals, made }] of moments) {
    onFrechet?.(space);
    const distance = await asyncScope(() =>
      inTurns(currentBackend(), frechetParts(originals, made), { signal })
    );
    const words = spaces.find((one) => one.name === space)?.words ?? faceWords;
    const { size, count: pictures } = originals;
    frechet.push({ space, words, distance, pictures, size, isDeficient: pictures <= size });
  }
  return {
    name,
    metrics: bootstrap(columnsOf(rows), rows.length, seed),
    faces: faces && { ...facesOf(rows), strangers },
    frechet,
    codebook: { codes: model.vocabulary, used, usage: share, perplexity, tokens: total },
    bitsPerPixel: Math.log2(model.vocabulary) * tokensEach / size ** 2,
    rows,
    worst: { metric: worst.metric, list: worst.list },
  };
}

function facesOf(rows: readonly Row[]): Omit<FaceResult, "strangers"> {
  const count = (name: string) => rows.reduce((sum, row) => sum + (row[name] > 0 ? 1 : 0), 0);
  const distances = rows.map(({ identity }) => identity).filter((d) => !Number.isNaN(d)).sort((a, b) =>
    a - b
  );
  const middle = distances.length / 2;
  const median = distances.length === 0
    ? NaN
    : (distances[Math.floor(middle - 0.25)] + distances[Math.floor(middle)]) / 2;
  const found = rows.filter(({ face_lost }) => !Number.isNaN(face_lost)).length;
  return { found, lost: count("face_lost"), same: count("same_person"), median };
}

function protocolOf(
  { length, options }: ImageDataset,
  read: number,
  { lpips, spaces, faces }: Judges,
  seed: number,
  batch: number,
  results: readonly ModelResult[],
): Record<string, string> {
  const { size, crop = "center", resize = "lanczos" } = options;
  const filter = resize === "taming" ? "OpenCV's bilinear filter, as taming's loader" : "Lanczos (sharp)";
  const judged = metrics.filter(({ name }) => name in results[0].metrics);
  return {
    pictures: `${read} of ${length}, each compared with its own reconstruction`,
    preparation: `shorter side to ${size} pixels by ${filter}, ${
      crop === "center" ? "middle" : "random"
    } square; reconstructions rounded to 8 bits`,
    ...Object.fromEntries(judged.map(({ title, words }) => [title, words])),
    ...spaces.length + (faces ? 1 : 0) > 0
      ? {
        "Fréchet distance":
          "|m1 - m2|^2 + tr(C1 + C2 - 2 (C1^1/2 C2 C1^1/2)^1/2) of the same pictures before and after, " +
          "unbiased covariances, double precision",
      }
      : {},
    ...Object.fromEntries(results[0].frechet.map(({ space, words }) => [`Fréchet (${space})`, words])),
    ...faces
      ? {
        faces:
          "SSD MobileNet v1, score above 0.5, the face with the highest score; each side found and aligned by itself",
      }
      : {},
    intervals:
      `95 %, percentile bootstrap over the pictures, ${draws} draws, seed ${seed}; Fréchet distances have none`,
    computed:
      `on ${currentBackend().description}, ${batch === 1 ? "one picture" : `${batch} pictures`} at a time` +
      (lpips.length === 0 ? "; LPIPS was not measured" : ""),
  };
}

function warningsOf(models: readonly ModelResult[], skipped: number): string[] {
  const frechet = models.flatMap((model) => model.frechet), { faces } = models[0];
  const warnings = [
    ...skipped > 0
      ? [`${skipped} of the pictures could not be read and ${skipped === 1 ? "is" : "are"} in no number`]
      : [],
    ...models[0].rows.length === 1
      ? ["one picture has no intervals, and its differences say nothing of others"]
      : [],
    ...frechet.filter(({ distance }) => Number.isNaN(distance)).map(({ space, pictures }) =>
      `there is no Fréchet distance (${space}): it needs at least 2 pictures, and there ${
        pictures === 1 ? "is 1" : "are 0"
      }`
    ),
    ...frechet.filter(({ isDeficient, distance }) => isDeficient && !Number.isNaN(distance)).map((
      { space, size, pictures },
    ) =>
      `the Fréchet distance (${space}) is of ${pictures} pictures, but a covariance of ${size} numbers needs ${
        size + 1
      } or more for full rank: compare it only with distances of the same pictures`
    ),
    ...faces?.found === 0 ? ["no face was found in any original, so identity says nothing"] : [],
  ];
  return [...new Set(warnings)];
}
