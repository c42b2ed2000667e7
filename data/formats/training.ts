// Reads the state of training in a checkpoint: step, epoch, and the moments of both Adam optimizers by parameter.
// Checkpoints by Lightning, whose optimizers identify parameters only by a number, give the same result as those by
// Tessera.
import { isWhole, shown } from "../../src/check.ts";
import { taming } from "./families/taming.ts";
import type { CheckpointFile } from "./file.ts";
import { jsonRecord, record } from "./json.ts";
import { FormatError } from "./source.ts";
import { learntKeys, momentName } from "./state_dict_keys.ts";
import type { StoredTensor } from "./stored_tensor.ts";
import { isStoredTensor, unwrapOmegaconf } from "./torch/unwrap.ts";

/** Adam's moments of one parameter, in a file. */
export interface StoredMoments {
  /** How many gradients this parameter has received. */
  readonly step: number;
  /** The running average of the gradient. */
  readonly expAvg: StoredTensor;
  /** The running average of its square. */
  readonly expAvgSq: StoredTensor;
}

/** The settings of an Adam optimizer, in a file. */
export interface AdamSettings {
  /** The learning rate. */
  readonly lr: number;
  /** The decay rates of the two averages. */
  readonly betas: readonly [number, number];
  /** Added to the divisor, so that the quotient stays finite. */
  readonly eps: number;
}

/** An Adam optimizer, in a file. */
export interface AdamState extends AdamSettings {
  /** The moments by state_dict key. Parameters that never received a gradient are missing. */
  readonly moments: ReadonlyMap<string, StoredMoments>;
}

/** The state of training in a checkpoint. */
export interface TrainingState {
  /** The number of updates of each network. */
  readonly step: number;
  /** How often all pictures were seen. */
  readonly epoch: number;
  /** The autoencoder's, then the discriminator's. */
  readonly optimizers: readonly AdamState[];
}

/** taming's settings, which are used if a file does not state them. */
export const tamingAdam: AdamSettings = { lr: 4.5e-6, betas: [0.5, 0.9], eps: 1e-8 };

/** The advice for optimizers that do not fit: the weights in the file are still useful. */
const withoutThem = "convert it without its optimizers";

/** The parameters that each of taming's optimizers trains. */
const learners = ["autoencoder", "loss.discriminator."] as const;

/**
 * Returns the state of training in a file; null if it holds only weights.
 * @throws FormatError if its optimizers do not fit its weights.
 */
export async function trainingState(file: CheckpointFile): Promise<TrainingState | null> {
  if (!hasItsOptimizers(file.model)) return null;
  const states = file.root instanceof Map ? file.root.get("optimizer_states") : undefined;
  if (Array.isArray(states) && states.length > 0) return await fromLightning(file, states);
  return fromNames(file);
}

/** Whether optimizers in the file are the VQGAN's own. If it lies inside another model, they are that model's. */
function hasItsOptimizers(model: CheckpointFile["model"]): boolean {
  return "problem" in model || /^((module|_orig_mod)\.)*$/.test(model.prefix) && model.family === taming;
}

/** Returns the metadata that `trainingState` needs, in addition to the moments, in files that are not Lightning's. */
export function describeTraining({ step, epoch, optimizers }: TrainingState): string {
  return JSON.stringify({
    step,
    epoch,
    adam: optimizers.map(({ lr, betas, eps }) => ({ lr, betas, eps })),
    adamSteps: optimizers.map(({ moments }) =>
      Object.fromEntries([...moments].map(([key, { step }]) => [key, step]))
    ),
  });
}

async function fromLightning(file: CheckpointFile, states: readonly unknown[]): Promise<TrainingState> {
  const root = file.root as ReadonlyMap<unknown, unknown>;
  const optimizers: AdamState[] = [];
  for (const [i, state] of states.entries()) {
    const learner = learners[i];
    if (!learner || !(state instanceof Map)) {
      throw new FormatError(
        file.path,
        `it holds ${states.length} optimizers, but a VQGAN has 2`,
        withoutThem,
      );
    }
    optimizers.push(await adamState(file, i, state, learntKeys(file.tensors.keys(), learner)));
  }
  return { step: stepsDone(root, optimizers), epoch: wholeNumber(root.get("epoch")), optimizers };
}

/**
 * Returns the number of training steps. Lightning's global_step counts batches, but since version 1.6 it counts the
 * steps of all optimizers and continues from the batches of older files. For these versions the count of the
 * autoencoder's Adam is the right one.
 */
function stepsDone(root: ReadonlyMap<unknown, unknown>, optimizers: readonly AdamState[]): number {
  const [major = 0, minor = 0] = String(root.get("pytorch-lightning_version") ?? "").split(".").map(Number);
  const counted = wholeNumber(root.get("global_step"));
  if (major < 1 || major === 1 && minor < 6) return counted;
  const steps = [...optimizers[0]?.moments.values() ?? []].map(({ step }) => step);
  return steps.length > 0 ? Math.max(...steps) : counted;
}

async function adamState(
  file: CheckpointFile,
  i: number,
  optimizer: ReadonlyMap<unknown, unknown>,
  keys: readonly string[],
): Promise<AdamState> {
  const corrupt = (what: string) => new FormatError(file.path, `optimizer ${i} ${what}`, withoutThem);
  const groups = optimizer.get("param_groups"), state = optimizer.get("state");
  const group = record(unwrapOmegaconf(Array.isArray(groups) ? groups[0] : null));
  if (!group || !Array.isArray(group.params) || !(state instanceof Map)) {
    throw corrupt("is not an Adam of torch");
  }
  if (group.params.length !== keys.length) {
    throw corrupt(`has ${group.params.length} parameters, but the file has ${keys.length} weights for it`);
  }
  const other = ["weight_decay", "amsgrad", "maximize"].find((name) => Boolean(group[name]));
  if (other) throw corrupt(`has ${other} ${shown(group[other])}, which taming's Adam does not have`);
  const moments = new Map<string, StoredMoments>();
  for (const [place, number] of group.params.entries()) {
    const entry = state.get(number), key = keys[place]!;
    if (!(entry instanceof Map)) continue;
    const expAvg = entry.get("exp_avg"), expAvgSq = entry.get("exp_avg_sq");
    if (!isStoredTensor(expAvg) || !isStoredTensor(expAvgSq)) {
      throw corrupt("is not an Adam: it has no moments");
    }
    const step = await stepOf(entry.get("step"));
    if (step === null) throw corrupt("does not say how many steps it has made");
    moments.set(key, fitting(file, key, { step, expAvg, expAvgSq }));
  }
  return { ...adamSettings(group), moments };
}

/** @throws FormatError if the moments have a different shape than their parameter. */
function fitting(file: CheckpointFile, key: string, moments: StoredMoments): StoredMoments {
  const shape = file.tensors.get(key)?.shape;
  const wrong = [moments.expAvg, moments.expAvgSq].find((moment) => `${moment.shape}` !== `${shape}`);
  if (!wrong) return moments;
  throw new FormatError(
    file.path,
    `an optimizer has moments of shape [${wrong.shape}] for ${key} of shape [${shape}]`,
    withoutThem,
  );
}

/** The settings of an optimizer, with taming's values for those that are missing or of the wrong type. */
function adamSettings({ lr, betas, eps }: Readonly<Record<string, unknown>>): AdamSettings {
  const isPair = Array.isArray(betas) && betas.length === 2 && betas.every((n) => typeof n === "number");
  return {
    lr: typeof lr === "number" ? lr : tamingAdam.lr,
    betas: isPair ? [betas[0], betas[1]] : tamingAdam.betas,
    eps: typeof eps === "number" ? eps : tamingAdam.eps,
  };
}

/**
 * Reads the step count of an Adam: torch before 1.12 keeps a plain integer, later versions a tensor without dimensions.
 * @returns null if there is no count
 */
export async function stepOf(step: unknown): Promise<number | null> {
  const isSmall = isStoredTensor(step) && step.byteLength > 0 && step.byteLength <= 8;
  const count = isSmall ? Number((await step.read())[0]) : step;
  return isWhole(count) ? count : null;
}

function wholeNumber(value: unknown): number {
  return isWhole(value) ? value : 0;
}

/** The settings of an optimizer in those of a run by Tessera. One rate stands for all parts of the autoencoder. */
function ofRun(settings: unknown, i: number): Record<string, unknown> {
  const { lr, optimizer } = record(settings) ?? {}, { betas, rates } = record(optimizer) ?? {};
  return { lr: i === 1 ? record(rates)?.discriminator ?? lr : lr, betas };
}

/** Reads Tessera's metadata: `state` describes its own run, `training` a converted run by Lightning. */
function fromNames(file: CheckpointFile): TrainingState | null {
  const told = jsonRecord(file.metadata.training ?? file.metadata.state);
  if (!told) return null;
  const { step, epoch, adam, adamSteps, settings } = told;
  const optimizers = learners.map((_, i): AdamState => {
    const moments = new Map<string, StoredMoments>();
    for (const [key, step] of Object.entries(record(Array.isArray(adamSteps) ? adamSteps[i] : null) ?? {})) {
      const [expAvg, expAvgSq] = (["exp_avg", "exp_avg_sq"] as const).map((moment) => {
        const name = momentName(i, moment, key), stored = file.tensors.get(name);
        if (stored) return stored;
        throw new FormatError(file.path, `${name} is missing`, withoutThem);
      });
      const found = { step: wholeNumber(step), expAvg: expAvg!, expAvgSq: expAvgSq! };
      moments.set(key, fitting(file, key, found));
    }
    return { ...adamSettings(record(Array.isArray(adam) ? adam[i] : ofRun(settings, i)) ?? {}), moments };
  });
  if (optimizers.every(({ moments }) => moments.size === 0)) return null;
  return { step: wholeNumber(step), epoch: wholeNumber(epoch), optimizers };
}
