// Reads taming's configs from disk.
import { readText } from "../../data/files/source.ts";
import type { YamlFile } from "../../data/formats/yaml.ts";
import { parseTamingConfig, type ReplacedLists, type TamingConfig } from "./config.ts";

/** The size limit in bytes; taming's configs have one or two thousand. The parser takes quadratic time for some texts. */
const maxLength = 2 ** 16;

/**
 * Reads configs as taming's main.py does: merged from left to right, with the assignments last.
 *
 * @param assignments settings such as "data.params.batch_size=2"
 * @param replaced the lists of pictures that come from elsewhere; those in the configs may then be of any class
 * @example With one setting changed
 * ```ts
 * import { readTamingConfig } from "@tessera/vqgan";
 *
 * const { model, batch } = await readTamingConfig(["custom_vqgan.yaml"], ["model.params.n_embed=16384"]);
 * ```
 * @throws an error that names the file, or the missing, wrong or unknown setting.
 */
export async function readTamingConfig(
  paths: readonly string[],
  assignments: readonly string[] = [],
  replaced: ReplacedLists = {},
): Promise<TamingConfig> {
  return parseTamingConfig(await Promise.all(paths.map(readYaml)), assignments, replaced);
}

async function readYaml(path: string): Promise<YamlFile> {
  return { path, text: await readText(path, maxLength) };
}
