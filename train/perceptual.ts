// Finding LPIPS weights in whatever files are given: the two published ones (a classifier and its heads, in any order),
// a folder that holds them, or a checkpoint that contains the network.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { openCheckpoint } from "../data/index.ts";
import { fillModule } from "../nn/fill.ts";
import { loadPerceptual, type LPIPS } from "../nn/index.ts";

const inCheckpoint = "loss.perceptual_loss.";

/** Files that together hold a perceptual network. */
export interface PerceptualSource {
  readonly net: "vgg" | "squeeze";
  /** One file that holds all, or two. */
  readonly files: { readonly whole: string } | { readonly backbone: string; readonly heads: string };
}

/**
 * Says which network the files hold, by their keys.
 * @param paths a folder with two files, two files, or a checkpoint
 * @throws if they hold none, or only half of one.
 */
export async function findPerceptual(paths: readonly string[]): Promise<PerceptualSource> {
  let backbone: string | null = null, heads: string | null = null, count = 0;
  for (const path of await expandFolders(paths)) {
    const file = await openCheckpoint(path);
    try {
      const keys = [...file.tensors.keys()];
      const headsWithin = (prefix: string) =>
        keys.filter((key) => key.startsWith(`${prefix}lin`) && key.endsWith(".weight")).length;
      if (headsWithin(inCheckpoint) > 0) {
        return { net: netWith(headsWithin(inCheckpoint), path), files: { whole: path } };
      }
      if (headsWithin("") > 0) {
        heads = path;
        count = headsWithin("");
      } else if (keys.some((key) => /^(features\.)?\d+\./.test(key))) backbone = path;
    } finally {
      await file.close();
    }
  }
  if (backbone !== null && heads !== null) return { net: netWith(count, heads), files: { backbone, heads } };
  const lack = heads !== null
    ? "the classifier (keys features.N.weight)"
    : "the heads (keys linN.model.1.weight)";
  throw new Error(`--lpips ${paths.join(" ")}: found no file with ${lack}; both are needed`);
}

async function expandFolders(paths: readonly string[]): Promise<string[]> {
  const found: string[] = [];
  for (const path of paths) {
    const info = await stat(path).catch(() => null);
    if (info === null) throw new Error(`--lpips ${path}: there is no such file or folder`);
    if (!info.isDirectory()) found.push(path);
    else {
      const names = (await readdir(path)).filter((name) => /\.(pth?|ckpt|bin|safetensors)$/.test(name))
        .sort();
      found.push(...names.map((name) => join(path, name)));
    }
  }
  return found;
}

function netWith(heads: number, path: string): "vgg" | "squeeze" {
  if (heads === 5) return "vgg";
  if (heads === 7) return "squeeze";
  throw new Error(`${path}: ${heads} LPIPS heads; VGG has 5 and SqueezeNet 7`);
}

/** Fills the network from what `findPerceptual` found. */
export async function fillPerceptual(lpips: LPIPS, { files }: PerceptualSource): Promise<void> {
  if (!("whole" in files)) return await loadPerceptual(lpips, files);
  const file = await openCheckpoint(files.whole);
  try {
    await fillModule(lpips, file, { whose: "the perceptual network's", prefix: "loss.perceptual_loss" });
    lpips.ready = true;
  } finally {
    await file.close();
  }
}
