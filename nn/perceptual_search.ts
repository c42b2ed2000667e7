// Finds the weights of LPIPS among files in any order: a classifier and its heads, in one file or in two.
import { type CheckpointSource, withCheckpoint } from "../data/formats/opener.ts";
import type { PerceptualNet } from "./lpips.ts";
import { contentsOf, perceptualNames, perceptualPartsOf } from "./perceptual_files.ts";

/** Files that together contain a perceptual network. */
export interface FoundPerceptual<Source extends CheckpointSource = CheckpointSource> {
  /** The kind of classifier. */
  readonly net: PerceptualNet;
  /** One file that contains everything, or the two published files; `loadPerceptual` takes them. */
  readonly files: { readonly whole: Source } | { readonly backbone: Source; readonly heads: Source };
}

/**
 * Recognises by keys and shapes which perceptual networks files contain, at most one of each kind.
 *
 * @param sources checkpoints, `lpips.LPIPS().state_dict()`, or the published files, in any order
 * @example From files that were dropped on a page
 * ```ts
 * import { loadPerceptual, LPIPS, perceptualNetworksIn } from "@tessera/vqgan/core";
 *
 * async function lpipsOf(dropped: readonly File[]): Promise<LPIPS> {
 *   const [{ net, files }] = await perceptualNetworksIn(dropped), lpips = new LPIPS(net);
 *   await loadPerceptual(lpips, files);
 *   return lpips;
 * }
 * ```
 * @throws if they contain no network, only half of one, or halves that do not belong together; it names what there is.
 */
export async function perceptualNetworksIn<Source extends CheckpointSource>(
  sources: readonly Source[],
): Promise<[FoundPerceptual<Source>, ...FoundPerceptual<Source>[]]> {
  const whole: FoundPerceptual<Source>[] = [];
  const found = { backbone: new Map<PerceptualNet, Source>(), heads: new Map<PerceptualNet, Source>() };
  const contents: string[] = [], paths: string[] = [];
  for (const source of sources) {
    await withCheckpoint("perceptual network", source, ({ tensors, path }) => {
      const parts = perceptualPartsOf(tensors), { backbone, heads } = parts;
      paths.push(path);
      if (backbone?.net && backbone.net === heads?.net) {
        whole.push({ net: backbone.net, files: { whole: source } });
        return Promise.resolve();
      }
      if (backbone || heads) contents.push(`${path} holds ${contentsOf(parts)}`);
      for (const part of ["backbone", "heads"] as const) {
        const net = parts[part]?.net;
        if (net && !found[part].has(net)) found[part].set(net, source);
      }
      return Promise.resolve();
    });
  }
  const parted = (Object.keys(perceptualNames) as PerceptualNet[]).flatMap(
    (net): FoundPerceptual<Source>[] => {
      const backbone = found.backbone.get(net), heads = found.heads.get(net);
      return backbone !== undefined && heads !== undefined ? [{ net, files: { backbone, heads } }] : [];
    },
  );
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
