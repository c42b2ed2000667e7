// The values of finetune's options, and the run that they describe.
import { basename, resolve } from "node:path";
import {
  preset,
  type PresetName,
  type VQModelConfig,
  type VQModelOverrides,
  withOverrides,
} from "../../data/formats/config.ts";
import type { Augment, Resize } from "../../data/index.ts";
import type { Precision } from "../../nn/index.ts";
import { defaultOptions, type NewRun, type PerceptualChoice } from "../../train/index.ts";
import { UsageError } from "../options.ts";
import { type CodebookFlags, codebookOf } from "./options/codebook.ts";
import { type GanFlags, ganOf } from "./options/gan.ts";
import type { IdentityFlags } from "./options/identity.ts";
import { type CourseFlags, courseOf } from "./options/course.ts";
import { type OptimizerFlags, optimizerOf } from "./options/optimizer.ts";
import { type ReportFlags, reportOf } from "./options/report.ts";

/** The values of the options. */
export interface Flags
  extends CodebookFlags, CourseFlags, GanFlags, IdentityFlags, OptimizerFlags, ReportFlags {
  base?: string[];
  /** The model settings in the configs of --base. */
  model?: VQModelOverrides;
  data?: string[];
  from?: string;
  scratch?: boolean;
  resume?: string;
  out: string;
  name?: string;
  steps?: number;
  batch: number;
  accumulate: number;
  baseLr?: number;
  lr?: number;
  warmup: number;
  decay: "constant" | "cosine" | "linear";
  lrFloor?: number;
  size?: number;
  seed: number;
  val: string | number | null;
  randomCrop?: boolean;
  flip?: boolean;
  augment?: Augment;
  resize: Resize;
  lpips?: string[] | boolean;
  precision: Precision;
  tamingExact?: boolean;
  lpipsDropout?: boolean;
  logEvery: number;
  imageEvery: number;
  saveEvery: number;
  valEvery?: number;
  preset?: PresetName;
  ch?: number;
  chMult?: number[];
  resBlocks?: number;
  attn?: number[];
  zChannels?: number;
  embedDim?: number;
  quantizer?: string;
  codes?: number;
  discNdf?: number;
  discLayers?: number;
}

/**
 * Returns the new run that the options describe. @throws UsageError if the starting point or the pictures are missing
 */
export function newRun(flags: Flags): NewRun {
  if (!flags.from && !flags.scratch) {
    throw new UsageError("say where to start: --from FILE, --scratch or --resume RUN");
  }
  if (flags.from && flags.scratch) throw new UsageError("--from and --scratch exclude each other");
  if (!flags.data?.length) throw new UsageError("--data is missing: a folder, a glob or a list of pictures");
  const steps = flags.steps ?? defaultOptions.steps;
  const { lossconfig: loss, ...model } = overridesOf(flags);
  const start = flags.from
    ? { from: flags.from, overrides: { ...model, lossconfig: { discStart: 0, ...loss } } }
    : {
      scratch: scratchConfig(flags, { ...model, lossconfig: { discStart: Math.floor(steps / 2), ...loss } }),
    };
  const options = { ...runOptions(flags, flags.data, steps), size: flags.size };
  return { start, perceptual: perceptualOf(flags), options, out: flags.out };
}

/** Returns the run that continues a checkpoint by Lightning, with its optimizers, until `steps` steps in total. */
export function continuedRun(path: string, flags: Flags, steps: number, lr: number | undefined): NewRun {
  return {
    ...newRun({ ...flags, from: path, steps, lr }),
    // no default for discStart, because the checkpoint's config has it
    start: { from: path, overrides: overridesOf(flags), goOn: true },
  };
}

function perceptualOf({ lpips, model, scratch }: Flags): PerceptualChoice {
  if (lpips === false || model?.lossconfig?.perceptualWeight === 0) return "none";
  if (Array.isArray(lpips)) return lpips;
  return scratch ? "inside" : "auto";
}

/** Returns the changes to the model's config that the configs of --base and the options for losses make. */
function overridesOf({ model, discWeight }: Flags): VQModelOverrides {
  return { ...model, lossconfig: { ...model?.lossconfig, ...given({ discWeight }) } };
}

/** With passes instead of steps, only the run itself knows where half of it is. */
function halfWay(flags: Flags): Flags {
  const isChosen = (flags.discStart ?? flags.model?.lossconfig?.discStart) !== undefined;
  return !flags.scratch || flags.epochs === undefined || isChosen ? flags : { ...flags, discStart: "50%" };
}

function runOptions(flags: Flags, data: readonly string[], steps: number): Omit<NewRun["options"], "size"> {
  const { batch, accumulate } = flags;
  return {
    data,
    steps,
    batch,
    accumulate,
    seed: flags.seed,
    val: flags.val,
    crop: flags.randomCrop ? "random" : "center",
    flip: flags.flip ?? false,
    augment: flags.augment ?? null,
    resize: flags.resize,
    lr: flags.lr,
    baseLr: flags.lr === undefined ? flags.baseLr : undefined,
    warmup: flags.warmup,
    decay: flags.decay,
    lrFloor: flags.lrFloor ?? 0,
    optimizer: optimizerOf(flags),
    identity: flags.identity ?? 0,
    report: reportOf(flags),
    ...courseOf(flags),
    precision: flags.precision,
    tamingExact: flags.tamingExact ?? false,
    lpipsDropout: flags.lpipsDropout ?? false,
    gan: ganOf(halfWay(flags)),
    codebook: codebookOf(flags, flags.scratch ?? false),
    logEvery: flags.logEvery,
    imageEvery: flags.imageEvery,
    saveEvery: flags.saveEvery,
    valEvery: flags.valEvery,
    name: (flags.name ?? basename(resolve(data[0]))).replace(/[^\w.-]+/g, "_"),
  };
}

/** Returns the config of a new model: the preset, changed first by the configs of --base and then by the options. */
function scratchConfig(flags: Flags, overrides: VQModelOverrides): VQModelConfig {
  const base = preset(flags.preset ?? "faces", overrides);
  const hasConfig = flags.model !== undefined; // then resolution and attention come from the config
  const size = hasConfig ? base.ddconfig.resolution : flags.size ?? base.ddconfig.resolution;
  const chMult = flags.chMult ?? base.ddconfig.chMult;
  const lowest = hasConfig ? base.ddconfig.attnResolutions : [size / 2 ** (chMult.length - 1)];
  return withOverrides(base, {
    ...given({
      embedDim: flags.embedDim ?? flags.zChannels,
      nEmbed: flags.codes,
      quantizer: flags.quantizer,
    }),
    // as LlamaGen trains it: 1 for the codes, beta (0.25) for the vectors
    ...flags.quantizer === "normalized" ? { legacyBeta: false } : {},
    ddconfig: {
      resolution: size,
      attnResolutions: flags.attn ?? lowest,
      ...given({
        ch: flags.ch,
        chMult: flags.chMult,
        numResBlocks: flags.resBlocks,
        zChannels: flags.zChannels,
      }),
    },
    lossconfig: given({ discNdf: flags.discNdf, discNumLayers: flags.discLayers }),
  });
}

/** The values that are not undefined. */
function given<T extends object>(values: T): Partial<T> {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Partial<T>;
}
