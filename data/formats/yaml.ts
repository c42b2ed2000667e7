// Reads settings in YAML as OmegaConf 2.0 does, which taming's main.py uses: PyYAML's values (YAML 1.1, so that 020 is 16
// and yes is true), files merged from left to right, then assignments such as model.params.n_embed=1024.
import { parse, type ScalarTag } from "yaml";

export type Setting = null | boolean | number | string | Setting[] | Settings;
export type Settings = Map<string, Setting>;

/** A YAML file that has been read. */
export interface YamlFile {
  /** The name of the file in errors. */
  readonly path: string;
  readonly text: string;
}

/**
 * Parses the files, merges their settings, and puts the values in place of references such as ${model.params.n_embed}.
 * @param assignments settings such as "path.to.key=value", with a value in YAML
 * @throws an error that names the file and the position of what is invalid.
 */
export function joinSettings(files: readonly YamlFile[], assignments: readonly string[] = []): Settings {
  return withoutReferences(
    [...files.map(settingsOf), ...assignments.map(assignment)].reduce(merged, new Map()),
  );
}

/** Converts groups to plain objects, as a checkpoint's hyper-parameters are. */
export function plainSettings(setting: Setting): unknown {
  if (Array.isArray(setting)) return setting.map(plainSettings);
  if (!(setting instanceof Map)) return setting;
  return Object.fromEntries([...setting].map(([key, value]) => [key, plainSettings(value)]));
}

function settingsOf({ path, text }: YamlFile): Settings {
  if (/^\s*<(!doctype|html)/i.test(text)) {
    throw new Error(
      `${path}: this is a web page (HTML), not YAML: the download returned a login or error page`,
    );
  }
  const [odd] = /[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/u.exec(text) ?? [];
  if (odd !== undefined) {
    const code = odd.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
    throw new Error(`${path}: it contains the character U+${code}, which YAML does not allow`);
  }
  const value = parsed(text.replace(/\r\n?/g, "\n"), path);
  if (value === null) return new Map();
  if (!(value instanceof Map)) throw new Error(`${path}: expected settings such as "model: ..."`);
  return value;
}

const radix = (digits: string): [string, number] =>
  digits.startsWith("0b")
    ? [digits.slice(2), 2]
    : digits.startsWith("0x")
    ? [digits.slice(2), 16]
    : [digits, digits.startsWith("0") ? 8 : 10];

/** Converts a number as PyYAML writes it: with underscores, and in parts of sixty as in 1:30, which is 90. */
function pyNumber(text: string, whole: (digits: string) => number): number {
  const [, sign, digits] = /^([-+]?)(.*)$/.exec(text.replaceAll("_", "").toLowerCase())!;
  const size = digits.includes(":")
    ? digits.split(":").reduce((sum, part) => 60 * sum + Number(part), 0)
    : whole(digits);
  return sign === "-" && size !== 0 ? -size : size;
}

/**
 * How PyYAML reads what stands without quotes, in its order. Floats are OmegaConf's, for which 1e-4 is a number; dates stay
 * texts.
 */
const scalars: ScalarTag[] = [
  {
    tag: "tag:yaml.org,2002:null",
    test: /^(?:~|null|Null|NULL)?$/,
    default: true,
    resolve: () => null,
  },
  {
    tag: "tag:yaml.org,2002:bool",
    test: /^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$/,
    default: true,
    resolve: (text) => /^(yes|true|on)$/i.test(text),
  },
  {
    tag: "tag:yaml.org,2002:int",
    test:
      /^(?:[-+]?0b[01_]+|[-+]?0[0-7_]+|[-+]?(?:0|[1-9][0-9_]*)|[-+]?0x[0-9a-fA-F_]+|[-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$/,
    default: true,
    resolve: (text) => pyNumber(text, (digits) => parseInt(...radix(digits))),
  },
  {
    tag: "tag:yaml.org,2002:float",
    test: new RegExp(
      "^(?:[-+]?[0-9][0-9_]*\\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[-+]?[0-9][0-9_]*[eE][-+]?[0-9]+" +
        "|\\.[0-9_]+(?:[eE][-+][0-9]+)?|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\\.[0-9_]*" +
        "|[-+]?\\.(?:inf|Inf|INF)|\\.(?:nan|NaN|NAN))$",
    ),
    default: true,
    resolve: (text) => pyNumber(text, (digits) => digits === ".inf" ? Infinity : Number(digits)),
  },
];

function parsed(text: string, where: string): Setting {
  let value: unknown;
  try {
    value = parse(text, {
      schema: "failsafe",
      customTags: scalars,
      mapAsMap: true,
      merge: true,
      uniqueKeys: false, // the last one counts, as in PyYAML
      logLevel: "error",
    });
  } catch (error) {
    throw new Error(`${where}: ${String((error as Error).message).split("\n")[0].slice(0, 200)}`);
  }
  return checked(value, where);
}

/** More than any config has. An alias can make a list or a group a part of itself. */
const maxDepth = 100;

/** Accepts plain values, lists, and groups whose keys are texts. */
function checked(value: unknown, where: string, depth = 0): Setting {
  if (depth > maxDepth) throw new Error(`${where.slice(0, 200)}: it has more than ${maxDepth} levels`);
  if (value === undefined || value === null) return null;
  if (typeof value === "string" || typeof value === "boolean" || typeof value === "number") return value;
  if (Array.isArray(value)) return value.map((item) => checked(item, where, depth + 1));
  if (value instanceof Map) {
    return new Map(
      [...value].map((
        [key, item],
      ) => [keyOf(key, where), checked(item, `${where}: ${keyOf(key, where)}`, depth + 1)]),
    );
  }
  throw new Error(`${where}: a value that is not a text, number, list or group`);
}

function keyOf(key: unknown, where: string): string {
  if (["string", "number", "boolean"].includes(typeof key) || key === null) return String(key);
  throw new Error(`${where}: a key that is a list or a group`);
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

/** A limit for hostile files, in which few references can stand for very many values. */
const maxReferences = 10_000;

function withoutReferences(root: Settings): Settings {
  let count = 0;
  /** @param entered the references that led here */
  const visit = (value: Setting, entered: readonly string[]): Setting => {
    if (Array.isArray(value)) return value.map((item) => visit(item, entered));
    if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, visit(item, entered)]));
    if (typeof value !== "string" || !value.includes("${")) return value;
    const target = (path: string): Setting => {
      const fail = (why: string) =>
        new Error(`"${value.slice(0, 80)}" refers to ${path.slice(0, 80)}, ${why}`);
      if (/[^\w.]/.test(path)) throw fail("which is not the name of a setting; write out its value");
      if (entered.includes(path)) throw fail("which refers back to it");
      if (++count > maxReferences) throw fail(`after more than ${maxReferences} other references`);
      const found = path.split(".").reduce<Setting | undefined>(
        (group, name) => group instanceof Map ? group.get(name) : undefined,
        root,
      );
      if (found === undefined) throw fail("which no config sets");
      return visit(found, [...entered, path]);
    };
    const [, path] = /^\$\{([^{}]*)\}$/.exec(value) ?? [];
    if (path !== undefined) return target(path);
    return value.replace(/\$\{([^{}]*)\}/g, (_, path: string) => String(target(path)));
  };
  return visit(root, []) as Settings;
}
