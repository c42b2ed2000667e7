// One safetensors file holds a whole run: all weights under taming's keys (discriminator and perceptual network too),
// both Adams' moments as optimizer.<0|1>.<exp_avg|exp_avg_sq>.<key>, and in its metadata what is not a tensor.
// Its size is about 12 bytes a learnt parameter plus 4 a frozen one: 921 MB for f16-16384, 980 MB with VGG inside.
import { openCheckpoint, writeSafetensors } from "../data/formats/index.ts";
import type { SamplerState } from "../data/index.ts";
import type { VQGAN } from "../nn/index.ts";
import { readTensors } from "../nn/load.ts";
import type { RandomState, Tensor } from "../src/index.ts";
import type { Adam } from "./adam.ts";
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
}

const stateVersion = 1;
const momentNames = { expAvg: "exp_avg", expAvgSq: "exp_avg_sq" } as const;

/** Writes everything atomically: readers see the old file or the new one. */
export async function saveCheckpoint(path: string, trainer: Trainer, state: RunState): Promise<void> {
  const optimizers = [trainer.generator, trainer.critic];
  const tensors = new Map<string, Tensor>(trainer.model.stateDict());
  optimizers.forEach((optimizer, i) => {
    for (const [key, { t, name }] of eachMoment(optimizer)) tensors.set(`optimizer.${i}.${name}.${key}`, t);
  });
  const stored: StoredState = {
    ...state,
    adamSteps: optimizers.map((optimizer) =>
      Object.fromEntries([...optimizer.state()].map(([key, { step }]) => [key, step]))
    ),
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
  /** Which tensors to write; default all. */
  readonly filter?: (key: string) => boolean;
}

/** Writes weights alone: for using a model, and for starting from it. */
export async function saveWeights(path: string, model: VQGAN, options: WeightsOptions = {}): Promise<void> {
  const { dtype, filter = () => true } = options;
  const chosen = new Map([...model.stateDict()].filter(([key]) => filter(key)));
  await writeSafetensors(path, entries(chosen, dtype), {
    format: "tessera",
    version: String(stateVersion),
    config: JSON.stringify(model.config),
  });
}

function* eachMoment(optimizer: Adam): Generator<[string, { t: Tensor; name: string }]> {
  for (const [key, moments] of optimizer.state()) {
    yield [key, { t: moments.expAvg, name: momentNames.expAvg }];
    yield [key, { t: moments.expAvgSq, name: momentNames.expAvgSq }];
  }
}

function entries(tensors: ReadonlyMap<string, Tensor>, dtype: "f32" | "f16" = "f32") {
  return [...tensors].map(([name, t]) => {
    return { name, shape: [...t.shape], dtype: t.ndim < 2 ? "f32" : dtype, data: () => t.floats() } as const;
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

function parseState(path: string, metadata: Record<string, string>): StoredState {
  if (metadata.state === undefined) {
    throw new Error(`${path} holds weights but no run to resume: start a new one with --from ${path}`);
  }
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
    const wanted = new Map<string, Tensor>(trainer.model.stateDict());
    [trainer.generator, trainer.critic].forEach((optimizer, i) => {
      for (const [key, step] of Object.entries(state.adamSteps[i])) optimizer.moments(key).step = step;
      for (const [key, { t, name }] of eachMoment(optimizer)) wanted.set(`optimizer.${i}.${name}.${key}`, t);
    });
    for (const [key, t] of wanted) {
      const found = file.tensors.get(key);
      if (!found || `${found.shape}` !== `${t.shape}`) {
        const what = found ? `has shape [${found.shape}], expected [${t.shape}]` : "is missing";
        throw new Error(`${path}: ${key} ${what}; the file is not a complete checkpoint`);
      }
    }
    await readTensors(wanted, file.tensors, [...wanted.keys()]);
    const lpips = trainer.model.loss?.perceptual_loss;
    if (lpips) lpips.ready = true;
    trainer.step = state.step;
    return state;
  } finally {
    await file.close();
  }
}
