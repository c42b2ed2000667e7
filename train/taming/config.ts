// taming's configs (custom_vqgan.yaml and its like) read as settings of a run: model, losses, file lists. What taming
// takes from the classes it names is here as their defaults.
import { type PresetName, type VQModelOverrides } from "../../nn/index.ts";
import { readYaml, type Setting, type Settings } from "./yaml.ts";

/** What a config says; null where it says nothing. */
export interface TamingConfig {
  /** `ckpt_path`: weights to start from. */
  readonly from: string | null;
  /** What `preset` is changed by. */
  readonly model: VQModelOverrides;
  readonly preset: PresetName;
  /** Lists of pictures. */
  readonly data: string | null;
  readonly val: string | null;
  readonly size: number | null;
  readonly batch: number | null;
  readonly baseLr: number | null;
  readonly accumulate: number | null;
  readonly steps: number | null;
  readonly epochs: number | null;
  /** What is in the config and has no effect here, a line each. */
  readonly notes: readonly string[];
}

const targets = {
  model: ["taming.models.vqgan.VQModel"],
  loss: ["taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator"],
  data: ["main.DataModuleFromConfig"],
  pictures: ["taming.data.custom.CustomTrain", "taming.data.custom.CustomTest"],
} as const;

/**
 * Reads configs as taming's main.py does: merged from left to right, assignments last.
 *
 * @param assignments such as "data.params.batch_size=2"
 * @example
 * const config = await readTamingConfig(["configs/custom_vqgan.yaml"], ["model.params.n_embed=16384"]);
 * @throws naming the setting that is missing, of the wrong kind or unknown; for a class, those that are known.
 */
export async function readTamingConfig(
  paths: readonly string[],
  assignments: readonly string[] = [],
): Promise<TamingConfig> {
  const root = new Group(await readYaml(paths, assignments), "");
  const model = root.group("model"), data = root.group("data");
  if (!model) throw new Error(`${paths.join(", ")}: there is no "model" in it`);
  const notes: string[] = [];
  const config = {
    ...readModel(model, notes),
    ...(data ? readData(data, notes) : { data: null, val: null, size: null, batch: null }),
    ...readTrainer(root.group("lightning"), notes),
  };
  root.done();
  return { ...config, preset: "f16-16384", notes };
}

function readModel(model: Group, notes: string[]): Pick<TamingConfig, "from" | "model" | "baseLr"> {
  const baseLr = model.number("base_learning_rate");
  model.target(targets.model);
  const params = model.needed("params");
  const dd = params.needed("ddconfig"), loss = params.needed("lossconfig");
  loss.target(targets.loss);
  const lossconfig = readLoss(loss.needed("params"));
  loss.done();
  const ddconfig = {
    zChannels: dd.needNumber("z_channels"),
    resolution: dd.needNumber("resolution"),
    inChannels: dd.needNumber("in_channels"),
    outCh: dd.needNumber("out_ch"),
    ch: dd.needNumber("ch"),
    chMult: dd.numbers("ch_mult") ?? [1, 2, 4, 8],
    numResBlocks: dd.needNumber("num_res_blocks"),
    attnResolutions: dd.numbers("attn_resolutions") ?? [],
    dropout: dd.number("dropout") ?? 0,
    doubleZ: dd.flag("double_z") ?? true,
  };
  dd.only("resamp_with_conv", true);
  dd.only("give_pre_end", false);
  for (const key of dd.rest()) notes.push(`${dd.path}.${key} has no effect, as in taming`);
  const result = {
    embedDim: params.needNumber("embed_dim"),
    nEmbed: params.needNumber("n_embed"),
    ddconfig,
    lossconfig,
  };
  const from = params.text("ckpt_path");
  params.only("image_key", "image");
  params.only("colorize_nlabels", null);
  params.only("remap", null);
  params.only("sane_index_shape", false);
  if ((params.take("ignore_keys") as Setting[] | null)?.length) {
    throw new Error(
      `${params.path}.ignore_keys is not read: strip the checkpoint instead (tessera convert --strip)`,
    );
  }
  const monitor = params.text("monitor") ?? "val/rec_loss";
  if (monitor !== "val/rec_loss") {
    notes.push(`${params.path}.monitor: the best checkpoint is that of val/rec_loss`);
  }
  params.done();
  model.done();
  return { from, model: result, baseLr };
}

function readLoss(params: Group): VQModelOverrides["lossconfig"] {
  const kind = params.text("disc_loss") ?? "hinge";
  if (kind !== "hinge" && kind !== "vanilla") {
    throw new Error(`${params.path}.disc_loss is ${kind}; Tessera knows hinge, vanilla`);
  }
  const lossconfig = {
    discStart: params.needNumber("disc_start"),
    codebookWeight: params.number("codebook_weight") ?? 1,
    discNumLayers: params.number("disc_num_layers") ?? 3,
    discFactor: params.number("disc_factor") ?? 1,
    discWeight: params.number("disc_weight") ?? 1,
    perceptualWeight: params.number("perceptual_weight") ?? 1,
    discNdf: params.number("disc_ndf") ?? 64,
    discLoss: kind,
  } as const;
  params.number("pixelloss_weight"); // which taming takes and never applies
  params.only("disc_in_channels", 3);
  params.only("use_actnorm", false);
  params.only("disc_conditional", false);
  params.done();
  return lossconfig;
}

function readData(data: Group, notes: string[]): Pick<TamingConfig, "data" | "val" | "size" | "batch"> {
  data.target(targets.data);
  const params = data.needed("params");
  const batch = params.number("batch_size");
  const train = params.needed("train"), validation = params.group("validation");
  const pictures = readPictures(train), held = validation && readPictures(validation);
  if (held && held.size !== pictures.size) {
    throw new Error(
      `${params.path}: train has size ${pictures.size} and validation ${held.size}; one size is used for both`,
    );
  }
  for (const key of ["num_workers", "wrap", "test"]) {
    if (params.take(key) !== undefined) notes.push(`${params.path}.${key} has no effect here`);
  }
  params.done();
  data.done();
  return { data: pictures.list, val: held?.list ?? null, size: pictures.size, batch };
}

function readPictures(set: Group): { list: string; size: number } {
  const target = set.target(targets.pictures);
  const params = set.needed("params");
  const key = target.endsWith("Train") ? "training_images_list_file" : "test_images_list_file";
  const list = params.text(key), size = params.needNumber("size");
  if (list === null) throw new Error(`${params.path}.${key} is missing: a text file with one picture a line`);
  params.done();
  set.done();
  return { list, size };
}

/** What taming gives to Lightning's trainer, as far as it means something here. */
function readTrainer(
  lightning: Group | null,
  notes: string[],
): Pick<TamingConfig, "accumulate" | "steps" | "epochs"> {
  const trainer = lightning?.group("trainer") ?? null;
  const read = {
    accumulate: trainer?.number("accumulate_grad_batches") ?? null,
    steps: limit(trainer?.number("max_steps")),
    epochs: limit(trainer?.number("max_epochs")),
  };
  for (const group of [trainer, lightning]) {
    for (const key of group?.rest() ?? []) notes.push(`${group!.path}.${key} has no effect here`);
  }
  return read;
}

/** Lightning's -1 is no limit. */
function limit(n: number | null | undefined): number | null {
  return n === undefined || n === -1 ? null : n;
}

/** A part of a config that knows where it stands, and which of its settings have been asked for. */
class Group {
  readonly values: Settings;
  readonly path: string;

  readonly #left: Set<string>;

  constructor(values: Settings, path: string) {
    this.values = values;
    this.path = path;
    this.#left = new Set(values.keys());
  }

  at(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }

  take(key: string): Setting | undefined {
    this.#left.delete(key);
    return this.values.get(key);
  }

  #fail(key: string, value: Setting, wanted: string): never {
    const found = value instanceof Map ? "a group" : JSON.stringify(value);
    throw new Error(`${this.at(key)} is ${found}, expected ${wanted}`);
  }

  group(key: string): Group | null {
    const value = this.take(key) ?? null;
    if (value === null) return null;
    return value instanceof Map
      ? new Group(value, this.at(key))
      : this.#fail(key, value, "a group of settings");
  }

  needed(key: string): Group {
    const group = this.group(key);
    if (!group) throw new Error(`${this.at(key)} is missing`);
    return group;
  }

  number(key: string): number | null {
    const value = this.take(key) ?? null;
    return value === null || typeof value === "number" ? value : this.#fail(key, value, "a number");
  }

  needNumber(key: string): number {
    const value = this.number(key);
    if (value === null) throw new Error(`${this.at(key)} is missing`);
    return value;
  }

  numbers(key: string): number[] | null {
    const value = this.take(key) ?? null;
    if (value === null) return null;
    if (Array.isArray(value) && value.every((n) => typeof n === "number")) return value;
    return this.#fail(key, value, "a list of numbers");
  }

  text(key: string): string | null {
    const value = this.take(key) ?? null;
    return value === null || typeof value === "string" ? value : this.#fail(key, value, "a text");
  }

  flag(key: string): boolean | null {
    const value = this.take(key) ?? null;
    return value === null || typeof value === "boolean" ? value : this.#fail(key, value, "true or false");
  }

  /** The class that this part is made by. @throws with those that are known, if it is none of them. */
  target(known: readonly string[]): string {
    const target = this.text("target");
    if (target !== null && known.includes(target)) return target;
    throw new Error(`${this.at("target")} is ${target ?? "missing"}; Tessera knows ${known.join(", ")}`);
  }

  /** A setting that has to be this, or absent. */
  only(key: string, value: Setting): void {
    const found = this.take(key) ?? value;
    if (found !== value) this.#fail(key, found, `${value}: nothing else is built`);
  }

  /** Names that nobody has asked for. */
  rest(): string[] {
    return [...this.#left];
  }

  /** @throws if there are settings that nobody has asked for, as a misspelt one. */
  done(): void {
    const [first] = this.#left;
    if (first === undefined) return;
    const known = [...this.values.keys()].filter((key) => !this.#left.has(key));
    throw new Error(
      `${this.at(first)} is not known${known.length > 0 ? ` (beside it are ${known.join(", ")})` : ""}`,
    );
  }
}
