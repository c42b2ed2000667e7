// Finds the weights of LPIPS among files, and loads them.
import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { localPath, openCheckpoint } from "../data/index.ts";
import { loadPerceptual, type LPIPS, type PerceptualNet } from "../nn/index.ts";
import { contentsOf, perceptualNames, perceptualPartsOf } from "../nn/perceptual_files.ts";

/** Files that together contain a perceptual network. */
export interface PerceptualSource {
  /** The kind of classifier. */
  readonly net: PerceptualNet;
  /** One file that contains everything, or the two published files. */
  readonly files: { readonly whole: string } | { readonly backbone: string; readonly heads: string };
}

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
  const whole: PerceptualSource[] = [];
  const found = { backbone: new Map<PerceptualNet, string>(), heads: new Map<PerceptualNet, string>() };
  const contents: string[] = [];
  for (const path of await expandFolders(paths)) {
    const file = await openCheckpoint(path);
    try {
      const parts = perceptualPartsOf(file.tensors), { backbone, heads } = parts;
      if (backbone?.net && backbone.net === heads?.net) {
        whole.push({ net: backbone.net, files: { whole: path } });
        continue;
      }
      if (backbone || heads) contents.push(`${path} holds ${contentsOf(parts)}`);
      for (const part of ["backbone", "heads"] as const) {
        const net = parts[part]?.net;
        if (net && !found[part].has(net)) found[part].set(net, path);
      }
    } finally {
      await file.close();
    }
  }
  const parted = (Object.keys(perceptualNames) as PerceptualNet[]).flatMap((net): PerceptualSource[] => {
    const backbone = found.backbone.get(net), heads = found.heads.get(net);
    return backbone !== undefined && heads !== undefined ? [{ net, files: { backbone, heads } }] : [];
  });
  const [first, ...others] = [...whole, ...parted];
  if (first) {
    return [
      first,
      ...others.filter(({ net }, i) => ![first, ...others.slice(0, i)].some((s) => s.net === net)),
    ];
  }
  const rest = contents.length > 0
    ? contents.join(", and ")
    : `neither a classifier (keys features.N.weight) nor heads (linN.model.1.weight) in ${paths.join(", ")}`;
  throw new Error(`perceptual network: ${rest}; a classifier (${known}) and its own heads are needed`);
}

const known = Object.values(perceptualNames).join(", ");

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
