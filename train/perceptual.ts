// Finds the weights of LPIPS among files and folders on the disk, and loads them.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { localPath } from "../data/index.ts";
import { type FoundPerceptual, loadPerceptual, type LPIPS, perceptualNetworksIn } from "../nn/index.ts";

/** Paths of files that together contain a perceptual network. */
export type PerceptualSource = FoundPerceptual<string>;

/**
 * Recognises by keys and shapes which perceptual network files contain.
 * @param paths a checkpoint or `lpips.LPIPS().state_dict()`, the two published files in any order, or a folder with these
 * @throws if they contain no network, only half of one, or halves that do not belong together; it names what there is.
 */
export async function findPerceptual(paths: readonly string[]): Promise<PerceptualSource> {
  return (await findPerceptuals(paths))[0];
}

/** `findPerceptual` for all networks that the files contain, at most one of each kind. */
export async function findPerceptuals(
  paths: readonly string[],
): Promise<[PerceptualSource, ...PerceptualSource[]]> {
  return await perceptualNetworksIn(await expandFolders(paths));
}

async function expandFolders(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const pathOrName of paths) {
    const path = await localPath(pathOrName);
    const info = await stat(path).catch(() => null);
    if (info === null) throw new Error(`perceptual network: there is no file or folder ${path}`);
    if (!info.isDirectory()) found.push(path);
    else {
      const names = (await readdir(path)).filter((name) => /\.(pth?|ckpt|bin|safetensors)$/.test(name))
        .sort();
      found.push(...names.map((name) => join(path, name)));
    }
  }
  return found;
}

/** Fills the network with the weights that `findPerceptual` found. */
export async function fillPerceptual(lpips: LPIPS, { files }: PerceptualSource): Promise<void> {
  await loadPerceptual(lpips, files);
}
