// Chooses the checkpoint among the files of a repository.
import { printable } from "../formats/text.ts";
import { configName } from "../formats/config.ts";
import type { HubName } from "./names.ts";

/** The endings of checkpoints, the best first: a Lightning checkpoint also holds what training needs. */
const endings: readonly RegExp[] = [/\.ckpt$/i, /\.safetensors$/i, /\.(pt|pth|bin)$/i, /\.msgpack$/i];

/** Files with such endings that hold no model: the state of a training, or a part of a model that is split. */
const notModels =
  /(^|\/)(optimizer|scheduler|scaler|training_args|rng_state|random_states)[^/]*$|-\d+-of-\d+\.\w+$/i;

/** What is preferred, the most important first. Each rule applies if it leaves at least one file. */
const preferences: readonly ((path: string) => boolean)[] = [
  (path) => /(^|[^a-z])(vq|movq)/i.test(path), // beside a diffusion model or a transformer
  (path) => !/[._-](fp16|bf16|f16|int8|non_ema)[._]/i.test(path),
  ...endings.map((ending) => (path: string) => ending.test(path)),
  (path) => !path.includes("/"),
];

/**
 * Returns the file that a name means: the file that it names, or else the one that Tessera reads best.
 * @param files the paths of all files in the repository
 * @throws if there is none, or several are equally good; the message lists them
 */
export function chooseFile(name: HubName, files: readonly string[]): string {
  let best = candidates(name, files);
  if (best.length === 0) throw new Error(nothingIn(name, files));
  for (const isPreferred of preferences) {
    const preferred = best.filter(isPreferred);
    if (preferred.length > 0) best = preferred;
  }
  if (best.length === 1) return best[0];
  throw new Error(
    `${name.text}: several files fit equally well: ${listed(best)}; name one, such as hf:${name.repo}${
      name.revision === "main" ? "" : `@${printable(name.revision)}`
    }/${printable(best[0])}`,
  );
}

/** Returns the files that a name can mean: the one that it names, or the checkpoints in the folder that it names. */
export function candidates({ path: named }: HubName, files: readonly string[]): readonly string[] {
  if (named !== null && files.includes(named)) return [named];
  return files.filter((path) => named === null || path.startsWith(`${named}/`)).filter((path) =>
    endings.some((ending) => ending.test(path)) && !notModels.test(path)
  );
}

/** Returns where the settings are that are read together with a checkpoint, if there are any: config.json in its folder. */
export function companionOf(file: string): string {
  return file.slice(0, file.lastIndexOf("/") + 1) + configName;
}

function nothingIn(name: HubName, files: readonly string[]): string {
  const all = candidates({ ...name, path: null }, files);
  const others = listed(all.length > 0 ? all : files);
  if (files.length === 0) return `${name.text}: this repository is empty`;
  return name.path === null
    ? `${name.text}: there is no checkpoint (.ckpt, .safetensors, .pt, .pth, .bin or .msgpack) in this repository, only ${others}`
    : `${name.text}: the repository has no checkpoint ${printable(name.path)}; it has ${others}`;
}

/** A few of the paths, for a message. */
function listed(paths: readonly string[]): string {
  const shown = paths.slice(0, 8).map((path) =>
    printable(path.length > 80 ? `${path.slice(0, 80)}...` : path)
  );
  return shown.join(", ") + (paths.length > shown.length ? ` and ${paths.length - shown.length} more` : "");
}
