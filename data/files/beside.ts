// Finds the configuration that lies beside a checkpoint, for what the file itself does not say: the configs of a log folder,
// model.yaml, config.json, or a YAML file of the same name.
import { readdir, readFile, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { jsonRecord, record } from "../formats/json.ts";

/** The settings of a model that were found beside its checkpoint. */
export interface SettingsBeside {
  /** The file, or the folder with several that belong together. */
  readonly path: string;
  /** The arguments of the model, as in a checkpoint's hyper-parameters: `ddconfig`, `lossconfig`, and so on. */
  readonly settings: Readonly<Record<string, unknown>>;
}

/** The size limit in bytes; configs have one or two thousand. */
const maxLength = 2 ** 20;

/**
 * Looks for settings beside a checkpoint. Files that cannot be read, or that describe no autoencoder, are passed over.
 * @returns null if there are none
 */
export async function settingsBeside(checkpoint: string): Promise<SettingsBeside | null> {
  for (const { path, files } of await candidates(resolve(checkpoint))) {
    const settings = await settingsIn(files).catch(() => null);
    if (settings) return { path, settings };
  }
  return null;
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
  if (["checkpoints", "ckpts"].includes(basename(folder))) {
    const configs = join(dirname(folder), "configs");
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
    const info = await stat(path).catch(() => null);
    if (!info?.isFile() || info.size > maxLength) return null;
    texts.push({ path, text: await readFile(path, "utf8") });
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
  if (record(params.ddconfig) || Array.isArray(params.ch_mult)) return { target: model?.target, ...params };
  const first = record(params.first_stage_config);
  return first && modelSettings(first);
}
