// Builds a checkpoint in Lightning 1.0's layout, as taming reads it: weights, both Adam optimizers by the numbers of
// their parameters, and the arguments of VQModel.
import type { VQModelOverrides } from "../config.ts";
import { record } from "../json.ts";
import { learntKeys, tamingOrder } from "../state_dict_keys.ts";
import type { TrainingState } from "../training.ts";
import { type TensorToWrite, toWrite } from "../values.ts";
import { OrderedDict, type Pickleable, Tuple } from "./pickle_write.ts";

export interface LightningContents {
  /** The model's tensors under taming's keys. */
  readonly tensors: readonly TensorToWrite[];
  /** Null if the file holds only weights. */
  readonly training: TrainingState | null;
  /** The arguments of VQModel as plain values; see `vqModelArguments`. */
  readonly hyperParameters: Readonly<Record<string, unknown>>;
  /** Tessera's own state, under one key that other programs ignore. */
  readonly metadata: Readonly<Record<string, string>>;
  /** What else its training keeps, such as averages of weights. */
  readonly kept?: readonly TensorToWrite[];
}

/** The key in the file that holds `metadata`. */
export const metadataKey = "tessera";

/** The key in the file that holds `kept`. It is outside of the state_dict, in which taming accepts nothing that it does not know. */
export const trainingKey = "tessera_training";

/** Returns the object that `writeTorch` writes as a checkpoint. */
export function lightningRoot(contents: LightningContents): Pickleable {
  const { training, hyperParameters, metadata, kept = [] } = contents;
  const byName = new Map(contents.tensors.map((tensor) => [tensor.name, tensor]));
  const stateDict = new OrderedDict(
    tamingOrder(byName.keys()).map((key) => [key, counted(byName.get(key)!)]),
  );
  return new Map<string, Pickleable>([
    ["epoch", training?.epoch ?? 0],
    ["global_step", training?.step ?? 0],
    ["pytorch-lightning_version", "1.0.8"],
    ["callbacks", new Map()],
    ...(training ? [["optimizer_states", optimizerStates(training, byName)] as const] : []),
    ...(training ? [["lr_schedulers", []] as const] : []),
    ["state_dict", stateDict],
    ...(Object.keys(hyperParameters).length > 0
      ? [["hparams_name", "kwargs"], ["hyper_parameters", plain(hyperParameters)]] as const
      : []),
    ...(Object.keys(metadata).length > 0 ? [[metadataKey, new Map(Object.entries(metadata))] as const] : []),
    ...(kept.length > 0
      ? [[trainingKey, new Map(kept.map((tensor) => [tensor.name, tensor]))] as const]
      : []),
  ]);
}

/** Converts a batch count, which torch's batch norm keeps as an int64. */
function counted(tensor: TensorToWrite): TensorToWrite {
  if (!tensor.name.endsWith("num_batches_tracked") || tensor.dtype === "i64") return tensor;
  const data = async () => {
    const [count = 0] = await tensor.data();
    return new BigInt64Array([BigInt(Math.round(Number(count)))]);
  };
  return { ...tensor, dtype: "i64", data };
}

function optimizerStates(
  { optimizers }: TrainingState,
  tensors: ReadonlyMap<string, TensorToWrite>,
): Pickleable[] {
  return optimizers.map(({ lr, betas, eps, moments }, i) => {
    const keys = learntKeys(tensors.keys(), i === 0 ? "autoencoder" : "loss.discriminator.");
    const state = new Map<number, Pickleable>();
    for (const [number, key] of keys.entries()) {
      const known = moments.get(key);
      if (!known) continue;
      state.set(
        number,
        new Map<string, Pickleable>([
          ["step", known.step],
          ["exp_avg", toWrite(`exp_avg of ${key}`, known.expAvg)],
          ["exp_avg_sq", toWrite(`exp_avg_sq of ${key}`, known.expAvgSq)],
        ]),
      );
    }
    const group = new Map<string, Pickleable>([
      ...Object.entries({ lr, betas: new Tuple(betas), eps, weight_decay: 0, amsgrad: false }),
      ["params", [...keys.keys()]],
    ]);
    return new Map<string, Pickleable>([["state", state], ["param_groups", [group]]]);
  });
}

/** Converts settings from JSON or a pickle to values that can be pickled. Everything else becomes null. */
function plain(value: unknown): Pickleable {
  if (value === null || ["boolean", "number", "string"].includes(typeof value)) return value as Pickleable;
  if (Array.isArray(value)) return value.map(plain);
  const fields = record(value);
  return fields ? new Map(Object.entries(fields).map(([key, item]) => [key, plain(item)])) : null;
}

/** The weight that taming's VQModel always gives to the codebook's term. */
const tamingsBeta = 0.25;

/** The class of the loss when nothing says how a model was trained. It has no arguments and no tensors. */
const noLoss = { target: "taming.modules.losses.vqperceptual.DummyLoss" };

/**
 * Returns the arguments of taming's VQModel that build this architecture. What is not known is left out, so that loading asks
 * for it. `beta` and `legacy` are those of taming's quantizer; its VQModel does not pass them on, so they are only named where
 * they differ from its own.
 */
export function vqModelArguments(config: VQModelOverrides): Record<string, unknown> {
  const { embedDim, nEmbed, ddconfig = {}, lossconfig = {}, beta, legacyBeta } = config;
  const { discStart, discWeight } = lossconfig;
  const loss = {
    target: "taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator",
    params: defined({
      disc_conditional: false,
      disc_in_channels: 3,
      disc_start: discStart,
      disc_weight: discWeight,
      disc_factor: lossconfig.discFactor,
      disc_num_layers: lossconfig.discNumLayers,
      disc_ndf: lossconfig.discNdf,
      disc_loss: lossconfig.discLoss,
      codebook_weight: lossconfig.codebookWeight,
      perceptual_weight: lossconfig.perceptualWeight,
    }),
  };
  return defined({
    embed_dim: embedDim,
    n_embed: nEmbed,
    ddconfig: defined({
      double_z: ddconfig.doubleZ,
      z_channels: ddconfig.zChannels,
      resolution: ddconfig.resolution,
      in_channels: ddconfig.inChannels,
      out_ch: ddconfig.outCh,
      ch: ddconfig.ch,
      ch_mult: ddconfig.chMult,
      num_res_blocks: ddconfig.numResBlocks,
      attn_resolutions: ddconfig.attnResolutions,
      dropout: ddconfig.dropout,
    }),
    lossconfig: Object.keys(lossconfig).length > 0 ? loss : noLoss,
    ...(legacyBeta === false || (beta ?? tamingsBeta) !== tamingsBeta ? { beta, legacy: legacyBeta } : {}),
  });
}

/** The fields that are not undefined. */
function defined(fields: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
