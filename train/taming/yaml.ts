// YAML settings as OmegaConf joins them: files merged from left to right, then assignments such as
// model.params.n_embed=1024 on top.
import { readFile, stat } from "node:fs/promises";
import { parse } from "yaml";

export type Setting = null | boolean | number | string | Setting[] | Settings;
export type Settings = Map<string, Setting>;

/** taming's configs have a kilobyte or two. */
const maxLength = 2 ** 20;

/**
 * Reads and joins.
 * @param assignments "path.to.key=value", the value in YAML
 * @throws naming the file and place of what cannot be read.
 */
export async function readYaml(
  paths: readonly string[],
  assignments: readonly string[] = [],
): Promise<Settings> {
  let all: Settings = new Map();
  for (const path of paths) all = merged(all, await readFileSettings(path));
  for (const text of assignments) all = merged(all, assignment(text));
  return all;
}

async function readFileSettings(path: string): Promise<Settings> {
  const size = await stat(path).then((info) => info.size, () => null);
  if (size === null) throw new Error(`${path}: there is no such file`);
  if (size > maxLength) throw new Error(`${path}: ${size} bytes are no settings (at most ${maxLength})`);
  const text = await readFile(path, "utf8");
  if (/^\s*<(!doctype|html)/i.test(text)) {
    throw new Error(`${path}: this is a web page (HTML), not YAML: the download gave a login or error page`);
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

/** Only plain values, with texts as keys; interpolation is OmegaConf's, and not read. */
function checked(value: unknown, where: string): Setting {
  if (value === undefined || value === null) return null;
  if (typeof value === "string" && value.includes("${")) {
    throw new Error(`${where}: "${value}" refers to another setting, which is not read; write it out`);
  }
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "number") return value;
  if (Array.isArray(value)) return value.map((item) => checked(item, where));
  if (value instanceof Map) {
    return new Map([...value].map(([key, item]) => [String(key), checked(item, `${where}: ${String(key)}`)]));
  }
  throw new Error(`${where}: a value that is no text, number, list or group`);
}

function assignment(text: string): Settings {
  const at = text.indexOf("=");
  const path = text.slice(0, at).split(".");
  if (at < 1 || path.some((name) => name.trim() === "")) {
    throw new Error(`"${text}" is no assignment such as model.params.n_embed=1024`);
  }
  const value = parsed(text.slice(at + 1), text);
  const settings = path.reduceRight<Setting>((below, name) => new Map([[name.trim(), below]]), value);
  return settings as Settings;
}

/** Groups are joined key by key; anything else, lists too, is replaced. */
function merged(a: Settings, b: Settings): Settings {
  const all = new Map(a);
  for (const [key, value] of b) {
    const before = all.get(key);
    all.set(key, before instanceof Map && value instanceof Map ? merged(before, value) : value);
  }
  return all;
}
