// One safetensors file holds a whole run: all weights under taming's keys (discriminator and perceptual network too),
// both Adams' moments as optimizer.<0|1>.<exp_avg|exp_avg_sq>.<key>, and in its metadata what is not a tensor.
// Its size is about 12 bytes a learnt parameter plus 4 a frozen one: 921 MB for f16-16384, 980 MB with VGG inside.
import {
  type CheckpointFile,
  momentName,
  openCheckpoint,
  type StoredTensor,
  tamingAdam,
  type TensorToWrite,
  type TrainingState,
  trainingState,
  writeSafetensors,
} from "../data/formats/index.ts";
import type { SamplerState } from "../data/index.ts";
import type { VQGAN } from "../nn/index.ts";
import { readTensors } from "../nn/load.ts";
import type { RandomState, Tensor } from "../src/index.ts";
import { LossScale, type LossScaleState } from "./loss_scale.ts";
import type { RunSettings } from "./settings.ts";
import type { Trainer } from "./trainer.ts";

/** What a run needs beside tensors to go on as if it had never stopped. */
export interface RunState {
  readonly step: number;
  readonly epoch: number;
  readonly sampler: SamplerState;
  readonly random: { readonly dropout: RandomState; readonly restart: RandomState };
  /** The lowest val/rec_loss so far, and the checkpoint kept for it. */
  readonly best: { readonly loss: number; readonly file: string } | null;
  /** How often each code was chosen since the last restart; null without restarts. */
  readonly codeCounts: readonly number[] | null;
  readonly settings: RunSettings;
}

interface StoredState extends RunState {
  /** Gradients that each parameter has had, by optimizer. */
  readonly adamSteps: readonly Record<string, number>[];
  /** null with f32. */
  readonly lossScale: LossScaleState | null;
}

const stateVersion = 1;

/** Writes everything atomically: readers see the old file or the new one. */
export async function saveCheckpoint(path: string, trainer: Trainer, state: RunState): Promise<void> {
  const optimizers = Object.values(trainer.optimizers);
  const tensors = new Map<string, Tensor>(trainer.model.stateDict());
  optimizers.forEach((optimizer, i) => {
    for (const [key, { expAvg, expAvgSq }] of optimizer.state()) {
      tensors.set(momentName(i, "exp_avg", key), expAvg);
      tensors.set(momentName(i, "exp_avg_sq", key), expAvgSq);
    }
  });
  const stored: StoredState = {
    ...state,
    adamSteps: optimizers.map((optimizer) =>
      Object.fromEntries([...optimizer.state()].map(([key, { step }]) => [key, step]))
    ),
    lossScale: await trainer.lossScale?.state() ?? null,
  };
  await writeSafetensors(path, entries(tensors), {
    format: "tessera",
    version: String(stateVersion),
    config: JSON.stringify(state.settings.model),
    state: JSON.stringify(stored),
  });
}

export interface WeightsOptions {
  /** f16 halves the file: tensors of two dimensions and more are rounded, statistics and biases stay f32. */
  readonly dtype?: "f32" | "f16";
}

/** Writes weights alone: for using a model, and for starting from it. */
export async function saveWeights(path: string, model: VQGAN, options: WeightsOptions = {}): Promise<void> {
  await writeSafetensors(path, entries(model.stateDict(), options.dtype), {
    format: "tessera",
    version: String(stateVersion),
    config: JSON.stringify(model.config),
  });
}

function entries(tensors: ReadonlyMap<string, Tensor>, dtype: "f32" | "f16" = "f32"): TensorToWrite[] {
  return [...tensors].map(([name, t]) => {
    // batch norm's count, which torch keeps as an integer
    if (name.endsWith("num_batches_tracked")) {
      const data = async () => new BigInt64Array([BigInt(await t.item())]);
      return { name, shape: [...t.shape], dtype: "i64", data };
    }
    return { name, shape: [...t.shape], dtype: t.ndim < 2 ? "f32" : dtype, data: () => t.floats() };
  });
}

/**
 * What a run was and where it stood.
 * @throws if the file holds no run, as the published weights do not.
 */
export async function readRunState(path: string): Promise<RunState> {
  const file = await openCheckpoint(path);
  try {
    return parseState(path, file.metadata);
  } finally {
    await file.close();
  }
}

function weightsAlone(path: string): Error {
  return new Error(`${path} holds weights but no run to resume: start a new one with --from ${path}`);
}

function parseState(path: string, metadata: Record<string, string>): StoredState {
  if (metadata.state === undefined) throw weightsAlone(path);
  if (metadata.version !== String(stateVersion)) {
    throw new Error(
      `${path} was written in version ${metadata.version} of the format; this Tessera reads version ${stateVersion}`,
    );
  }
  return JSON.parse(metadata.state) as StoredState;
}

/** Fills a trainer (and its model) from a checkpoint of the same run. @throws if a tensor is missing. */
export async function restoreTrainer(path: string, trainer: Trainer): Promise<RunState> {
  const file = await openCheckpoint(path);
  try {
    const state = parseState(path, file.metadata);
    await fill(path, trainer.model.stateDict(), file.tensors);
    await fillMoments(file, await trainingState(file), trainer);
    const lpips = trainer.model.loss?.perceptual_loss;
    if (lpips) lpips.ready = true;
    if (trainer.lossScale && state.lossScale) trainer.lossScale = new LossScale(state.lossScale);
    trainer.step = state.step;
    return state;
  } finally {
    await file.close();
  }
}

/** What can be gone on with in a checkpoint by Lightning, or converted from one. */
export interface TrainingProgress {
  readonly step: number;
  readonly epoch: number;
  readonly lr: number;
}

/**
 * How far the training in a file has come, unless it is a run of Tessera's own, which holds more.
 * @throws if the file has no optimizers, or other ones than Tessera trains with.
 */
export async function readProgress(path: string): Promise<TrainingProgress | "own run"> {
  const file = await openCheckpoint(path);
  try {
    if (file.metadata.state !== undefined) return "own run";
    const { step, epoch, optimizers } = checkAdams(path, await trainingState(file));
    return { step, epoch, lr: optimizers[0].lr };
  } finally {
    await file.close();
  }
}

/** Gives a trainer the optimizers, step and epoch of such a file; its model has the weights already. */
export async function continueTrainer(path: string, trainer: Trainer): Promise<TrainingProgress> {
  const file = await openCheckpoint(path);
  try {
    const training = checkAdams(path, await trainingState(file));
    await fillMoments(file, training, trainer);
    trainer.step = training.step;
    return { step: training.step, epoch: training.epoch, lr: training.optimizers[0].lr };
  } finally {
    await file.close();
  }
}

function checkAdams(path: string, training: TrainingState | null): TrainingState {
  if (!training) throw weightsAlone(path);
  for (const { betas, eps } of training.optimizers) {
    if (`${betas}` !== `${tamingAdam.betas}` || eps !== tamingAdam.eps) {
      throw new Error(
        `${path}: its Adam has betas ${betas.join(", ")} and eps ${eps}; Tessera goes on with taming's, ` +
          `${tamingAdam.betas.join(", ")} and ${tamingAdam.eps}. Start with fresh optimizers: --from ${path}`,
      );
    }
  }
  return training;
}

async function fillMoments(
  file: CheckpointFile,
  training: TrainingState | null,
  trainer: Trainer,
): Promise<void> {
  const own = new Map<string, Tensor>(), stored = new Map<string, StoredTensor>();
  for (const [i, optimizer] of Object.values(trainer.optimizers).entries()) {
    const all = [...training?.optimizers[i]?.moments ?? []];
    const shapeOf = (key: string) => optimizer.parameters.get(key)?.shape;
    // a discriminator that was begun anew has a new optimizer too
    if (!all.every(([key, { expAvg }]) => `${shapeOf(key)}` === `${expAvg.shape}`)) continue;
    for (const [key, { step, expAvg, expAvgSq }] of all) {
      const moments = optimizer.moments(key);
      moments.step = step;
      const [first, second] = [momentName(i, "exp_avg", key), momentName(i, "exp_avg_sq", key)];
      own.set(first, moments.expAvg).set(second, moments.expAvgSq);
      stored.set(first, expAvg).set(second, expAvgSq);
    }
  }
  await fill(file.path, own, stored);
}

/** Reads every one of these tensors. @throws if the file lacks one, or has it in another shape. */
async function fill(
  path: string,
  wanted: ReadonlyMap<string, Tensor>,
  stored: ReadonlyMap<string, StoredTensor>,
): Promise<void> {
  for (const [key, t] of wanted) {
    const found = stored.get(key);
    if (!found || `${found.shape}` !== `${t.shape}`) {
      const what = found ? `has shape [${found.shape}], expected [${t.shape}]` : "is missing";
      throw new Error(`${path}: ${key} ${what}; the file is not a complete checkpoint`);
    }
  }
  await readTensors(wanted, stored, [...wanted.keys()]);
}
