// One safetensors file holds a whole run: all weights under taming's keys (including discriminator and perceptual
// network), the moments of both Adam optimizers as optimizer.<0|1>.<exp_avg|exp_avg_sq>.<key>, the tensors of what else a
// training keeps as training.<name>.<key>, and everything else in its metadata. The file has about 12 bytes per trained
// parameter plus 4 per frozen one: 921 MB for f16-16384, 980 MB with VGG.
import {
  type CheckpointFile,
  configOf,
  momentName,
  openCheckpoint,
  type StoredTensor,
  tamingAdam,
  type TrainingState,
  trainingState,
  writeSafetensors,
} from "../../data/index.ts";
import { checkEnding } from "../../data/files/save.ts";
import { FormatError } from "../../data/formats/source.ts";
import { fillModule, fillTensors } from "../../nn/fill.ts";
import type { LoadOptions, VQGAN } from "../../nn/index.ts";
import { checkOptions, shown } from "../../src/check.ts";
import type { Tensor } from "../../src/index.ts";
import { NotResumableError } from "../errors.ts";
import { LossScale } from "../loss_scale.ts";
import { parseState, type RunState, type StoredState } from "./state.ts";
import { restoreStates, stateTensors, stateValues } from "../train_state.ts";
import type { Trainer } from "../trainer.ts";
import { entries, metadataOf, stateVersion, type WeightsOptions, weightsRules } from "../weights.ts";

/** The prefix of the perceptual network's keys. */
const perceptual = "loss.perceptual_loss.";

/** Writes the checkpoint atomically: readers see either the old file or the new one. */
export async function saveCheckpoint(path: string, trainer: Trainer, state: RunState): Promise<void> {
  const optimizers = Object.values(trainer.optimizers), { model: _model, ...settings } = state.settings;
  const tensors = new Map<string, Tensor>(trainer.model.stateDict());
  optimizers.forEach((optimizer, i) => {
    for (const [key, { expAvg, expAvgSq }] of optimizer.state()) {
      tensors.set(momentName(i, "exp_avg", key), expAvg);
      tensors.set(momentName(i, "exp_avg_sq", key), expAvgSq);
    }
  });
  for (const [name, tensor] of stateTensors(trainer.states)) tensors.set(name, tensor);
  const stored: StoredState = {
    ...state,
    settings,
    adamSteps: optimizers.map((optimizer) =>
      Object.fromEntries([...optimizer.state()].map(([key, { step }]) => [key, step]))
    ),
    frozen: frozenParameters(trainer),
    lossScale: await trainer.lossScale?.state() ?? null,
    training: await stateValues(trainer.states),
  };
  const metadata = { ...metadataOf(trainer.model), state: JSON.stringify(stored) };
  await writeSafetensors(path, entries(tensors), metadata);
}

/**
 * Returns the bytes that `saveCheckpoint` will write, except for the header. Moments that do not exist yet count too.
 */
export function checkpointBytes({ model, optimizers, states }: Trainer): number {
  const sizes = (tensors: Iterable<Tensor>) => [...tensors].reduce((sum, { size }) => sum + size, 0);
  const learnt = Object.values(optimizers).map(({ parameters }) =>
    sizes([...parameters.values()].filter(({ requiresGrad }) => requiresGrad))
  );
  const kept = sizes(model.stateDict().values()) + sizes(stateTensors(states).values());
  return 4 * (kept + 2 * learnt[0] + 2 * learnt[1]);
}

/**
 * Writes only the weights, as safetensors, for using a model or for starting from it.
 * @throws if the path does not end in .safetensors, or the file cannot be written; an existing file then stays as it
 * was
 * @example Half the file size
 * ```ts
 * import { saveWeights, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt");
 * await saveWeights("half.safetensors", model, { dtype: "f16" });
 * ```
 */
export async function saveWeights(path: string, model: VQGAN, options: WeightsOptions = {}): Promise<void> {
  checkOptions("saveWeights", options, weightsRules);
  checkEnding("saveWeights", path, [".safetensors"]);
  await writeSafetensors(path, entries(model.stateDict(), options.dtype), metadataOf(model));
}

/**
 * Reads the settings and the state of a run.
 * @throws FormatError naming the first field that cannot be right; NotResumableError if it is no run by Tessera but a file of
 * weights, or a checkpoint by Lightning, which `readProgress` reads.
 */
export async function readRunState(path: string): Promise<RunState> {
  const file = await openCheckpoint(path);
  try {
    return stateIn(file);
  } finally {
    await file.close();
  }
}

/** The parameters of the two optimizers that are frozen now. */
export function frozenParameters({ optimizers }: Trainer): string[] {
  return Object.values(optimizers).flatMap(({ parameters }) =>
    [...parameters].filter(([, { requiresGrad }]) => !requiresGrad).map(([key]) => key)
  );
}

function weightsAlone(path: string): Error {
  return new NotResumableError(path, "holds weights but no run to resume");
}

function stateIn(file: CheckpointFile): StoredState & RunState {
  const { path, metadata: { state, version } } = file;
  if (state === undefined) throw weightsAlone(path);
  if (version !== String(stateVersion)) {
    throw new NotResumableError(
      path,
      `holds a run in version ${
        shown(version)
      } of the format, but this Tessera reads version ${stateVersion}`,
    );
  }
  return parseState(path, state, configOf(file).config);
}

/** How `restoreTrainer` reads a checkpoint. */
export interface RestoreOptions extends Pick<LoadOptions, "onProgress" | "signal"> {
  /** Whether the perceptual network comes from somewhere else. Default false. */
  readonly withoutPerceptual?: boolean;
}

/**
 * Fills a trainer and its model from a checkpoint of the same run, and freezes what was frozen.
 * @throws if a tensor is missing
 */
export async function restoreTrainer(
  path: string,
  trainer: Trainer,
  { withoutPerceptual = false, ...loading }: RestoreOptions = {},
): Promise<RunState> {
  const file = await openCheckpoint(path, { average: false });
  try {
    const state = stateIn(file);
    const isNeeded = (key: string) => !(withoutPerceptual && key.startsWith(perceptual));
    await fillModule(trainer.model, file, { whose: "the run's", isNeeded, ...loading });
    await fillMoments(file, await trainingState(file), trainer);
    await fillTensors(stateTensors(trainer.states), file.tensors, path, { whose: "the training's" });
    try {
      restoreStates(trainer.states, state.training);
    } catch (error) {
      throw new FormatError(path, (error as Error).message);
    }
    const lpips = trainer.model.loss?.perceptual_loss;
    if (lpips && !withoutPerceptual) lpips.ready = true;
    if (trainer.lossScale && state.lossScale) trainer.lossScale = new LossScale(state.lossScale);
    trainer.step = state.step;
    const frozen = new Set(state.frozen);
    for (const [key, parameter] of trainer.model.namedParameters()) {
      if (frozen.has(key)) parameter.requiresGrad = false;
    }
    return state;
  } finally {
    await file.close();
  }
}

/** The state of the training in a checkpoint by Lightning, which may have been converted since. */
export interface TrainingProgress {
  /** The number of steps done. A step is one update of both networks. */
  readonly step: number;
  /** How often all pictures were seen. */
  readonly epoch: number;
  /** The learning rate of the autoencoder's optimizer. */
  readonly lr: number;
  /** The decay rates of its two averages. */
  readonly betas: readonly [number, number];
}

/**
 * Reads the state of the training in a file. For a run by Tessera it returns "own run"; `readRunState` reads those.
 * @throws NotResumableError if the file has no optimizers, or ones that Tessera does not train with
 */
export async function readProgress(path: string): Promise<TrainingProgress | "own run"> {
  const file = await openCheckpoint(path);
  try {
    if (file.metadata.state !== undefined) return "own run";
    const { step, epoch, optimizers } = checkAdams(path, await trainingState(file));
    return { step, epoch, lr: optimizers[0].lr, betas: optimizers[0].betas };
  } finally {
    await file.close();
  }
}

/**
 * Gives a trainer the optimizers and the step of such a file. The trainer's model must already have the weights.
 * @throws NotResumableError as `readProgress` does, and if the trainer's Adam has other decay rates
 */
export async function continueTrainer(path: string, trainer: Trainer): Promise<TrainingProgress> {
  const file = await openCheckpoint(path);
  try {
    const training = checkAdams(path, await trainingState(file), trainer.optimizers.generator.betas);
    await fillMoments(file, training, trainer);
    const { step, epoch, optimizers: [{ lr, betas }] } = training;
    trainer.step = step;
    return { step, epoch, lr, betas };
  } finally {
    await file.close();
  }
}

/** Checks that the optimizers of a file are those of the trainer that goes on, with its betas if they are given. */
function checkAdams(
  path: string,
  training: TrainingState | null,
  wanted = training?.optimizers[0].betas,
): TrainingState {
  if (!training || !wanted) throw weightsAlone(path);
  for (const { betas, eps } of training.optimizers) {
    if (`${betas}` === `${wanted}` && eps === tamingAdam.eps) continue;
    throw new NotResumableError(
      path,
      `cannot be resumed: one of its Adams has betas ${
        betas.join(", ")
      } and eps ${eps}, but this run's have ${wanted.join(", ")} and ${tamingAdam.eps}`,
    );
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
    // A discriminator that does not fit was replaced by a new one, and then its optimizer must be new too.
    if (!all.every(([key, { expAvg }]) => `${shapeOf(key)}` === `${expAvg.shape}`)) continue;
    for (const [key, { step, expAvg, expAvgSq }] of all) {
      const moments = optimizer.moments(key);
      moments.step = step;
      const [first, second] = [momentName(i, "exp_avg", key), momentName(i, "exp_avg_sq", key)];
      own.set(first, moments.expAvg).set(second, moments.expAvgSq);
      stored.set(first, expAvg).set(second, expAvgSq);
    }
  }
  await fillTensors(own, stored, file.path, { whose: "the optimizers'" });
}
