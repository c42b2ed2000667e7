// Reads the settings of a run from taming's configs, such as custom_vqgan.yaml: model, losses and lists of pictures. If
// a config leaves out a setting, the default of taming's class is used.
import type { PresetName, VQModelOverrides } from "../../data/formats/config.ts";
import { joinSettings, type Setting, type Settings, type YamlFile } from "../../data/formats/yaml.ts";

/** The settings in a config. Null stands for a setting that is left out. */
export interface TamingConfig {
  /** `ckpt_path`: weights to start from. */
  readonly from: string | null;
  /** The model, as changes to `preset`. */
  readonly model: VQModelOverrides;
  /** The preset that `model` changes. */
  readonly preset: PresetName;
  /** The file with the list of pictures to train on. */
  readonly data: string | null;
  /** The file with the list of pictures for validation. */
  readonly val: string | null;
  /** The side of the square pictures in pixels. */
  readonly size: number | null;
  /** The number of pictures per batch. */
  readonly batch: number | null;
  /** The learning rate of one picture, which is multiplied by batch and accumulation. */
  readonly baseLr: number | null;
  /** The number of batches whose gradients are averaged in one step. */
  readonly accumulate: number | null;
  /** The number of steps of the whole run. With `epochs` as well, the run ends where the first of the two does. */
  readonly steps: number | null;
  /** How often all pictures are seen; `stepsOfEpochs` says how many steps that takes. */
  readonly epochs: number | null;
  /** The settings in the config that have no effect here, one per line. */
  readonly notes: readonly string[];
}

/** The classes of taming that Tessera replaces. */
const targets = {
  model: ["taming.models.vqgan.VQModel"],
  loss: ["taming.modules.losses.vqperceptual.VQLPIPSWithDiscriminator"],
  data: ["main.DataModuleFromConfig"],
  pictures: ["taming.data.custom.CustomTrain", "taming.data.custom.CustomTest"],
} as const;

/** The lists of pictures that come from elsewhere, so that those in a config are not needed. */
export interface ReplacedLists {
  /** The pictures to train on. */
  readonly data?: boolean;
  /** The pictures for validation. */
  readonly val?: boolean;
}

/**
 * Reads the settings of configs that are in memory; see `readTamingConfig`.
 * @throws an error that names the missing, wrong or unknown setting and, for a class, the known ones.
 */
export function parseTamingConfig(
  files: readonly YamlFile[],
  assignments: readonly string[],
  replaced: ReplacedLists = {},
): TamingConfig {
  const settings = joinSettings(files, assignments);
  try {
    return readSettings(new Group(settings, ""), replaced);
  } catch (error) {
    throw new Error(`${files.map(({ path }) => path).join(", ")}: ${(error as Error).message}`);
  }
}

function readSettings(root: Group, replaced: ReplacedLists): TamingConfig {
  const model = root.group("model"), data = root.group("data");
  if (!model) throw new Error('"model" is missing');
  const notes: string[] = [];
  const config = {
    ...readModel(model, notes),
    ...(data ? readData(data, notes, replaced) : { data: null, val: null, size: null, batch: null }),
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
  const { resolution, chMult } = ddconfig, factor = 2 ** (chMult.length - 1);
  if (resolution % factor !== 0) {
    throw new Error(
      `${dd.path}.resolution is ${resolution}, which ${chMult.length} levels do not halve evenly; taming's encoder and decoder ` +
        `then differ in their attention, and such a model is not supported (multiples of ${factor} are)`,
    );
  }
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
  if (params.text("remap") !== null) {
    notes.push(`${params.path}.remap: tokens are renumbered only if the checkpoint holds quantize.used`);
  }
  params.flag("sane_index_shape"); // the shape of indices in torch, which no file and no picture depends on
  if ((params.take("ignore_keys") as Setting[] | null)?.length) {
    throw new Error(
      `${params.path}.ignore_keys is not supported: convert the checkpoint first, without those tensors`,
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
    throw new Error(`${params.path}.disc_loss is ${kind}; Tessera knows hinge and vanilla`);
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
  params.number("pixelloss_weight"); // taming accepts it but never applies it
  params.only("disc_in_channels", 3);
  params.only("use_actnorm", false);
  params.only("disc_conditional", false);
  params.done();
  return lossconfig;
}

function readData(
  data: Group,
  notes: string[],
  replaced: ReplacedLists,
): Pick<TamingConfig, "data" | "val" | "size" | "batch"> {
  if (replaced.data) data.take("target");
  else data.target(targets.data);
  const params = data.needed("params");
  const batch = params.number("batch_size");
  const validation = params.group("validation");
  const train = replaced.data ? params.group("train") : params.needed("train");
  const pictures = train && !replaced.data ? readPictures(train) : replacedPictures(train);
  const target = replaced.data ? String(train?.take("target")) : "";
  if (croppedAtRandom.test(target)) {
    notes.push(
      `${train!.path}: taming crops at random for ${target}; here it is the middle unless said otherwise`,
    );
  }
  const held = validation && heldPictures(validation, notes, replaced);
  if (held && pictures.size !== null && held.size !== null && held.size !== pictures.size) {
    throw new Error(
      `${params.path}: train has size ${pictures.size} and validation ${held.size}; both must have the same size`,
    );
  }
  for (const key of replaced.data ? params.rest() : ["num_workers", "wrap", "test"]) {
    if (params.take(key) !== undefined) notes.push(`${params.path}.${key} has no effect here`);
  }
  params.done();
  data.done();
  return { data: pictures.list, val: held?.list ?? null, size: pictures.size, batch };
}

/** taming's classes of pictures that are cropped at random in training. Its custom ones take the middle; none mirrors. */
const croppedAtRandom = /^taming\.data\.(imagenet\.ImageNetTrain|faceshq\.FacesHQTrain)$/;

/** The file with a list of pictures, and the side of the square pictures in pixels. */
type PictureList = Pick<TamingConfig, "size"> & { readonly list: string | null };

/**
 * Reads what is known of pictures whose list comes from elsewhere. taming's classes for other data sets have the size as their
 * own setting, as `crop_size`, or in a group named `config`.
 */
function replacedPictures(set: Group | null): PictureList {
  const params = set?.group("params") ?? null;
  const sizes = [params, params?.group("config") ?? null].flatMap((group) =>
    ["crop_size", "size"].map((key) => group?.take(key))
  );
  const list = params?.take("training_images_list_file") ?? params?.take("test_images_list_file");
  return {
    list: typeof list === "string" ? list : null,
    size: sizes.find((size) => typeof size === "number") ?? null,
  };
}

/** Validation by another class is left out if the pictures to train on are others too. */
function heldPictures(set: Group, notes: string[], { data, val }: ReplacedLists): PictureList {
  const target = set.take("target");
  const isKnown = targets.pictures.some((known) => known === target);
  if (!val && (isKnown || !data)) return readPictures(set);
  const { size, list } = replacedPictures(set);
  if (val) return { size, list };
  notes.push(`no validation: ${set.path}.target is ${target}, whose pictures are not known here`);
  return { size, list: null };
}

function readPictures(set: Group): PictureList {
  const target = set.target(targets.pictures, ", or pictures that are named elsewhere");
  const params = set.needed("params");
  const key = target.endsWith("Train") ? "training_images_list_file" : "test_images_list_file";
  const list = params.text(key), size = params.needNumber("size");
  if (list === null) {
    throw new Error(`${params.path}.${key} is missing: a text file with one picture per line is expected`);
  }
  params.done();
  set.done();
  return { list, size };
}

/** Reads the settings of Lightning's trainer that have a meaning here. */
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

/**
 * Returns the steps that Lightning needs for epochs. In each epoch all batches count, also the last one if it is smaller,
 * and so does the last step if it has fewer batches.
 */
export function stepsOfEpochs(epochs: number, pictures: number, batch: number, accumulate: number): number {
  return epochs * Math.ceil(Math.ceil(pictures / batch) / accumulate);
}

/** Converts a limit: in Lightning -1 means that there is none. */
function limit(n: number | null | undefined): number | null {
  return n === undefined || n === -1 ? null : n;
}

/** A group of settings. It knows its path in the config and which of its settings have not been read yet. */
class Group {
  readonly path: string;
  readonly #values: Settings;
  readonly #left: Set<string>;

  constructor(values: Settings, path: string) {
    this.#values = values;
    this.path = path;
    this.#left = new Set(values.keys());
  }

  #at(key: string): string {
    return this.path === "" ? key : `${this.path}.${key}`;
  }

  /** Reads a setting of any kind. */
  take(key: string): Setting | undefined {
    this.#left.delete(key);
    return this.#values.get(key);
  }

  #fail(key: string, value: Setting, wanted: string): never {
    const found = value instanceof Map ? "a group" : JSON.stringify(value);
    throw new Error(`${this.#at(key)} is ${found}, expected ${wanted}`);
  }

  group(key: string): Group | null {
    const value = this.take(key) ?? null;
    if (value === null) return null;
    return value instanceof Map
      ? new Group(value, this.#at(key))
      : this.#fail(key, value, "a group of settings");
  }

  needed(key: string): Group {
    const group = this.group(key);
    if (!group) throw new Error(`${this.#at(key)} is missing`);
    return group;
  }

  number(key: string): number | null {
    const value = this.take(key) ?? null;
    return value === null || typeof value === "number" ? value : this.#fail(key, value, "a number");
  }

  needNumber(key: string): number {
    const value = this.number(key);
    if (value === null) throw new Error(`${this.#at(key)} is missing`);
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

  /** Reads the class of the group. @throws if it is not one of the known ones */
  target(known: readonly string[], others = ""): string {
    const target = this.text("target");
    if (target !== null && known.includes(target)) return target;
    const all = known.join(", ") + others;
    throw new Error(`${this.#at("target")} is ${target ?? "missing"}; Tessera knows ${all}`);
  }

  /** Checks a setting for which only one value is supported. */
  only(key: string, value: Setting): void {
    const found = this.take(key) ?? value;
    if (found !== value) this.#fail(key, found, `${value}, the only supported value`);
  }

  /** Returns the settings that have not been read. */
  rest(): string[] {
    return [...this.#left];
  }

  /** @throws if there is a setting that has not been read, such as a misspelt one */
  done(): void {
    const [first] = this.#left;
    if (first === undefined) return;
    const known = [...this.#values.keys()].filter((key) => !this.#left.has(key));
    throw new Error(
      `${this.#at(first)} is not known${
        known.length > 0 ? ` (the known ones there are ${known.join(", ")})` : ""
      }`,
    );
  }
}
