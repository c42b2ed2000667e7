// Reads settings in YAML and merges them as OmegaConf does: files from left to right, then assignments such as
// model.params.n_embed=1024.
import { parse } from "yaml";

export type Setting = null | boolean | number | string | Setting[] | Settings;
export type Settings = Map<string, Setting>;

/** A YAML file that has been read. */
export interface YamlFile {
  /** The name of the file in errors. */
  readonly path: string;
  readonly text: string;
}

/**
 * Parses the files and merges their settings.
 * @param assignments settings such as "path.to.key=value", with a value in YAML
 * @throws an error that names the file and the position of what is invalid.
 */
export function joinSettings(files: readonly YamlFile[], assignments: readonly string[] = []): Settings {
  return [...files.map(settingsOf), ...assignments.map(assignment)].reduce(merged, new Map());
}

function settingsOf({ path, text }: YamlFile): Settings {
  if (/^\s*<(!doctype|html)/i.test(text)) {
    throw new Error(
      `${path}: this is a web page (HTML), not YAML: the download returned a login or error page`,
    );
  }
  const value = parsed(text, path);
  if (value === null) return new Map();
  if (!(value instanceof Map)) throw new Error(`${path}: expected settings such as "model: ..."`);
  return value;
}

function parsed(text: string, where: string): Setting {
  let value: unknown;
  try {
    value = parse(text, { mapAsMap: true, merge: true, logLevel: "error" });
  } catch (error) {
    throw new Error(`${where}: ${String((error as Error).message).split("\n")[0]}`);
  }
  return checked(value, where);
}

/** Accepts plain values, lists, and groups whose keys are texts. OmegaConf's interpolation is not supported. */
function checked(value: unknown, where: string): Setting {
  if (value === undefined || value === null) return null;
  if (typeof value === "string" && value.includes("${")) {
    throw new Error(
      `${where}: "${value}" refers to another setting, which is not supported; write out its value`,
    );
  }
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "number") return value;
  if (Array.isArray(value)) return value.map((item) => checked(item, where));
  if (value instanceof Map) {
    return new Map([...value].map(([key, item]) => [String(key), checked(item, `${where}: ${String(key)}`)]));
  }
  throw new Error(`${where}: a value that is not a text, number, list or group`);
}

function assignment(text: string): Settings {
  const at = text.indexOf("=");
  const names = text.slice(0, at).split(".").map((name) => name.trim());
  if (at < 1 || names.includes("")) {
    throw new Error(`"${text}" is not an assignment such as model.params.n_embed=1024`);
  }
  const value = parsed(text.slice(at + 1), text);
  return names.reduceRight<Setting>((below, name) => new Map([[name, below]]), value) as Settings;
}

/** Merges groups key by key. Everything else, including lists, is replaced. */
function merged(a: Settings, b: Settings): Settings {
  const all = new Map(a);
  for (const [key, value] of b) {
    const before = all.get(key);
    all.set(key, before instanceof Map && value instanceof Map ? merged(before, value) : value);
  }
  return all;
}
