// Reads taming's configs from disk.
import { readFile, stat } from "node:fs/promises";
import { parseTamingConfig, type TamingConfig } from "./config.ts";
import type { YamlFile } from "./yaml.ts";

/** The most bytes that are read; taming's configs have one or two thousand. */
const maxLength = 2 ** 20;

/**
 * Reads configs as taming's main.py does: merged from left to right, with the assignments last.
 *
 * @param assignments are like "data.params.batch_size=2"
 * @example With a setting changed
 * ```ts
 * import { readTamingConfig } from "@tessera/vqgan";
 *
 * const { model, batch } = await readTamingConfig(["custom_vqgan.yaml"], ["model.params.n_embed=16384"]);
 * ```
 * @throws an error that names the file, or the setting that is missing, of the wrong kind or unknown.
 */
export async function readTamingConfig(
  paths: readonly string[],
  assignments: readonly string[] = [],
): Promise<TamingConfig> {
  return parseTamingConfig(await Promise.all(paths.map(readYaml)), assignments);
}

async function readYaml(path: string): Promise<YamlFile> {
  const size = await stat(path).then((info) => info.size, () => null);
  if (size === null) throw new Error(`${path}: there is no such file`);
  if (size > maxLength) throw new Error(`${path}: ${size} bytes are no settings (at most ${maxLength})`);
  return { path, text: await readFile(path, "utf8") };
}
