// Finds the configuration that lies beside a checkpoint, for what the file itself does not say: the configs of a log folder,
// model.yaml, config.json, or a YAML file of the same name.
import { readdir } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import type { VQModelConfig } from "../formats/config.ts";
import type { CheckpointFile, SettingsBeside } from "../formats/file.ts";
import { guessConfig } from "../formats/guess.ts";
import { jsonRecord, record } from "../formats/json.ts";
import { readText } from "./source.ts";

/** The size limit in bytes; configs have one or two thousand. The parser takes quadratic time for some texts. */
const maxLength = 2 ** 16;

/** Adds the settings beside a checkpoint, unless it says all itself or holds no VQGAN. */
export async function withSettingsBeside(file: CheckpointFile): Promise<CheckpointFile> {
  const isKnown = "problem" in file.model || file.root instanceof Map && file.root.has("config"); // Flax's config.json
  const guess = isKnown ? null : configOrNull(file);
  if (guess === null || guess.assumed.length === 0) return file;
  const beside = await settingsBeside(file.path, guess.config);
  return beside ? { ...file, beside } : file;
}

function configOrNull(file: CheckpointFile): ReturnType<typeof guessConfig> | null {
  try {
    return guessConfig(file);
  } catch {
    return null; // who loads it says what is missing
  }
}

/** Says where settings describe a model with other tensors than these. */
function misfitOf(settings: SettingsBeside["settings"], config: VQModelConfig): string | null {
  const { embedDim, nEmbed, ddconfig: { ch, chMult, numResBlocks, zChannels } } = config;
  const ours = {
    ...{ embed_dim: embedDim, n_embed: nEmbed, ch, ch_mult: chMult },
    ...{ num_res_blocks: numResBlocks, z_channels: zChannels },
  };
  const theirs: Record<string, unknown> = { ...settings, ...record(settings.ddconfig) };
  const differs = (name: string, value: unknown) =>
    theirs[name] !== undefined && inWords(theirs[name]) !== inWords(value);
  const [name, value] = Object.entries(ours).find(([name, value]) => differs(name, value)) ?? [];
  return name === undefined
    ? null
    : `${name} is ${inWords(theirs[name])} there and ${inWords(value)} in the file`;
}

const inWords = (value: unknown) =>
  typeof value === "object" ? JSON.stringify(value).slice(0, 80) : String(value);

/**
 * Looks for settings that describe this model. Files that cannot be read, or that describe no autoencoder, are passed over.
 * @returns those that fit it; otherwise the first ones of another model, or null
 */
async function settingsBeside(checkpoint: string, config: VQModelConfig): Promise<SettingsBeside | null> {
  let other: SettingsBeside | null = null;
  for (const { path, files } of await candidates(checkpoint)) {
    const settings = await settingsIn(files).catch(() => null);
    if (!settings) continue;
    const misfit = misfitOf(settings, config);
    if (misfit === null) return { path, settings, misfit };
    other ??= { path, settings, misfit };
  }
  return other;
}

/** What may hold the settings: one file, or several that are merged in this order. */
interface Candidate {
  readonly path: string;
  readonly files: readonly string[];
}

async function candidates(checkpoint: string): Promise<Candidate[]> {
  const folder = dirname(checkpoint), stem = basename(checkpoint, extname(checkpoint));
  const single = (path: string) => ({ path, files: [path] });
  const found: Candidate[] = [];
  // taming's log folders and downloads: checkpoints/last.ckpt or ckpts/last.ckpt, and configs/*.yaml
  if (["checkpoints", "ckpts"].includes(basename(resolve(folder)))) {
    const configs = join(folder, "..", "configs");
    found.push({ path: configs, files: await filesIn(configs, /\.ya?ml$/) });
  }
  const names = [stem, "model", "config", "project"].flatMap((name) =>
    ["yaml", "yml", "json"].map((ending) => `${name}.${ending}`)
  );
  found.push(...names.map((name) => single(join(folder, name))));
  const projects = await filesIn(folder, /-project\.yaml$/);
  found.push({ path: projects.length === 1 ? projects[0]! : folder, files: projects });
  const others = await filesIn(folder, /\.ya?ml$/);
  if (others.length === 1) found.push(single(others[0]!));
  return found.filter(({ files }) => files.length > 0);
}

async function filesIn(folder: string, pattern: RegExp): Promise<string[]> {
  const names = await readdir(folder).catch(() => []);
  return names.filter((name) => !name.startsWith(".") && pattern.test(name)).sort().map((name) =>
    join(folder, name)
  );
}

async function settingsIn(files: readonly string[]): Promise<Record<string, unknown> | null> {
  const texts: { path: string; text: string }[] = [];
  for (const path of files) {
    texts.push({ path, text: await readText(path, maxLength) });
  }
  if (files[0]!.endsWith(".json")) return modelSettings(jsonRecord(texts[0]!.text));
  const { joinSettings, plainSettings } = await import("../formats/yaml.ts"); // few checkpoints need it
  return modelSettings(record(plainSettings(joinSettings(texts))));
}

/**
 * Finds the arguments of the autoencoder in a whole config, in the config of a second stage, or in a plain list of settings.
 */
function modelSettings(config: Record<string, unknown> | null): Record<string, unknown> | null {
  const model = record(config?.model) ?? config;
  const params = record(model?.params) ?? model;
  if (!params) return null;
  if (record(params.ddconfig) || Array.isArray(params.ch_mult)) {
    const { target } = model!;
    return typeof target === "string" ? { target, ...params } : params;
  }
  const first = record(params.first_stage_config);
  return first && modelSettings(first);
}
