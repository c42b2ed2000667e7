// The readers of settings against seeded mutations: configs in YAML, a config.json, and the JSON in a checkpoint's metadata.
// The result must be an error of one line, or what an oracle reads from the same changed text. TESSERA_FUZZ=10000 sets the
// number of mutations per file (default 150).
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { preset } from "../../../data/formats/config.ts";
import { parseFlaxConfig } from "../../../data/formats/flax/read.ts";
import { flaxConfigJson } from "../../../data/formats/flax/write.ts";
import { jsonRecord } from "../../../data/formats/json.ts";
import { joinSettings } from "../../../data/formats/yaml.ts";
import {
  configOf,
  FormatError,
  formatInspectReport,
  inspect,
  memorySource,
  readCheckpoint,
} from "../../../data/index.ts";
import { VQGAN } from "../../../nn/index.ts";
import { saveWeights } from "../../../train/index.ts";
import { parseTamingConfig } from "../../../train/taming/config.ts";
import { mutate, mutationRandom } from "../../support/mutations.ts";
import { smallConfig } from "../../support/small_model.ts";
import { settingsDiffer, yaml } from "../../support/oracle/settings.ts";
import { Verdicts } from "../../support/oracle/verdict.ts";

const mutations = Number(process.env.TESSERA_FUZZ ?? 150);
setDefaultTimeout(60_000 + 100 * mutations);

const fixture = (name: string) =>
  new Uint8Array(readFileSync(new URL(`../../fixtures/authors/configs/${name}.yaml`, import.meta.url)));
const configs = [
  "fork140/2026-11-28T21-49-19-project",
  "lightning108/2026-11-28T21-38-23-project",
  "lightning108/2026-11-28T21-38-23-lightning",
].map((name) => [name, fixture(name)] as const);
const utf8 = (text: string) => new TextEncoder().encode(text);
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

type Verdict = string[] | "unjudged" | null;

/** @throws what is no error of one line with the file's name. (What prints it escapes other control characters.) */
function refused(error: unknown, path: string): null {
  const isKnown = error instanceof FormatError || error instanceof Error && error.constructor === Error;
  if (!isKnown) throw error;
  if (!/^[^\r\n]{10,}$/.test(error.message)) {
    throw new Error(`no clear line: ${JSON.stringify(error.message)}`);
  }
  if (!error.message.includes(path)) throw new Error(`without the file's name: ${error.message}`);
  return null;
}

/** A config in YAML must be refused, or have the oracle's settings; taming's own reading of them may refuse more. */
function judgeYaml(bytes: Uint8Array): Verdict {
  const file = { path: "x.yaml", text: text(bytes) };
  let settings: unknown;
  try {
    settings = joinSettings([file]);
  } catch (error) {
    return refused(error, "");
  }
  try {
    parseTamingConfig([file], []);
  } catch (error) {
    refused(error, "x.yaml");
  }
  let expected: unknown;
  try {
    expected = yaml(file.text);
  } catch {
    return "unjudged";
  }
  if (file.text.includes("${")) return "unjudged"; // the oracle knows no references
  const problem = settingsDiffer(settings, expected ?? new Map());
  return problem === null ? [] : [problem];
}

const sameJson = (own: unknown, expected: unknown): Verdict =>
  JSON.stringify(own) === JSON.stringify(expected)
    ? []
    : [`${JSON.stringify(own)?.slice(0, 80)} is not the oracle's`];

function judgeFlaxConfig(bytes: Uint8Array): Verdict {
  const settings = jsonRecord(text(bytes)), found = settings && parseFlaxConfig(settings);
  if (found === null) return null;
  return sameJson([...found], Object.entries(JSON.parse(text(bytes))));
}

const folder = await mkdtemp(join(tmpdir(), "tessera-settings-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const config = smallConfig({ perceptualWeight: 0 });
const weights = await (async () => {
  const path = join(folder, "tiny.safetensors"), model = new VQGAN(config, null);
  await saveWeights(path, model);
  model.dispose();
  return new Uint8Array(await readFile(path));
})();
const headerLength = Number(new DataView(weights.buffer).getBigUint64(0, true));
const { __metadata__: _, ...tensors } = JSON.parse(text(weights.subarray(8, 8 + headerLength)));

/** The config that Tessera wrote with the weights, in a file whose weights are sound. */
async function judgeMetadata(bytes: Uint8Array): Promise<Verdict> {
  const header = utf8(JSON.stringify({ __metadata__: { config: text(bytes) }, ...tensors }));
  const data = weights.subarray(8 + headerLength), file = new Uint8Array(8 + header.length + data.length);
  new DataView(file.buffer).setBigUint64(0, BigInt(header.length), true);
  file.set(header, 8);
  file.set(data, 8 + header.length);
  const opened = await readCheckpoint(memorySource("x.safetensors", file));
  formatInspectReport(await inspect(opened));
  let found: object;
  try {
    found = configOf(opened).config;
  } catch (error) {
    return refused(error, "x.safetensors");
  }
  // what the text says must be in the config as it is; what it leaves out is filled in
  const within = (own: unknown, right: unknown): boolean =>
    typeof right === "object" && right !== null && !Array.isArray(right)
      ? Object.entries(right).every(([key, value]) => within((own as Record<string, unknown>)?.[key], value))
      : JSON.stringify(own) === JSON.stringify(right);
  return within(found, JSON.parse(text(bytes)))
    ? []
    : [`${JSON.stringify(found)} is not what ${text(bytes)} says`];
}

async function fuzz(
  name: string,
  sound: Uint8Array,
  salt: number,
  judge: (bytes: Uint8Array) => Verdict | Promise<Verdict>,
) {
  expect(await judge(sound)).toEqual([]);
  const verdicts = new Verdicts(), other = configs[(salt + 1) % configs.length][1];
  for (let seed = 0; seed < mutations; seed++) {
    const bytes = mutate(sound, other, mutationRandom(seed * 64 + salt));
    try {
      verdicts.add(await judge(bytes));
    } catch (error) {
      throw new Error(`mutation ${seed} of ${name}: ${(error as Error).stack ?? error}\n${text(bytes)}`);
    }
  }
  verdicts.check(name, mutations);
}

describe(`${mutations} mutations of`, () => {
  for (const [i, [name, sound]] of configs.entries()) test(name, () => fuzz(name, sound, i, judgeYaml));
  test("config.json", () => fuzz("config.json", utf8(flaxConfigJson(preset("faces"))), 10, judgeFlaxConfig));
  test("the config in metadata", () => fuzz("the config", utf8(JSON.stringify(config)), 11, judgeMetadata));
});
