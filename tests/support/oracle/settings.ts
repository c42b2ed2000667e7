// Reads settings a second time, by js-yaml, which shares nothing with the package that the reader uses.
import {
  boolYaml11Tag,
  floatYaml11Tag,
  intYaml11Tag,
  load,
  mergeTag,
  nullYaml11Tag,
  realMapTag,
  Schema,
  seqTag,
  strTag,
} from "js-yaml";

/** All values as texts. */
const texts = new Schema([strTag, seqTag, realMapTag, mergeTag]);
const scalars = new Schema([
  strTag,
  seqTag,
  realMapTag,
  nullYaml11Tag,
  boolYaml11Tag,
  intYaml11Tag,
  floatYaml11Tag,
]);

export const yaml = (text: string): unknown => load(text, { schema: texts });

/** What a text without quotes can mean: in YAML 1.1, or as a number that Python reads, as OmegaConf does. */
function meanings(text: string): unknown[] {
  const found: unknown[] = [text, Number(text.replaceAll("_", "") || NaN), ...(text === "" ? [null] : [])];
  try {
    found.push(load(text, { schema: scalars }) ?? null);
  } catch {
    // no value by itself, so it can only be a text
  }
  return found;
}

/** Compares settings with those of the oracle. @returns where they differ, or null */
export function settingsDiffer(own: unknown, expected: unknown, path = "root"): string | null {
  if (typeof expected === "string" || expected === null || expected === undefined) {
    const right = meanings(expected ?? "").some((value) => value === own || Object.is(value, own));
    return right ? null : `${path} is ${String(own)}, the oracle has ${expected}`;
  }
  if (Array.isArray(expected)) {
    if (!Array.isArray(own) || own.length !== expected.length) return `${path} is not the oracle's list`;
    return first(expected.map((item, i) => settingsDiffer(own[i], item, `${path}[${i}]`)));
  }
  if (!(expected instanceof Map) || !(own instanceof Map)) return `${path} is not the oracle's group`;
  const pairs = [...expected];
  if (own.size !== pairs.length) return `${path} has ${own.size} settings, the oracle ${pairs.length}`;
  return first([...own].map(([key, value], i) => {
    const [name, item] = pairs[i];
    const isName = typeof name === "string" && meanings(name).some((meaning) => String(meaning) === key);
    return isName
      ? settingsDiffer(value, item, `${path}.${key}`)
      : `${path}: ${key}, the oracle has ${String(name)}`;
  }));
}

const first = (found: readonly (string | null)[]) => found.find((problem) => problem !== null) ?? null;
