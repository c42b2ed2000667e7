// The weights of LPIPS in files: recognises by keys and shapes which classifier a file holds, and heads for which, and fills
// a network with them. Classifier and heads come in one file or in two.
import { type CheckpointSource, withCheckpoint } from "../data/formats/opener.ts";
import type { StoredTensor } from "../data/formats/stored_tensor.ts";
import type { Tensor } from "../src/index.ts";
import { fillTensors } from "./fill.ts";
import type { LPIPS, PerceptualNet } from "./lpips.ts";

/** The names of the classifiers. */
export const perceptualNames: Readonly<Record<PerceptualNet, string>> = {
  vgg: "VGG16",
  squeeze: "SqueezeNet 1.1",
  alex: "AlexNet",
};

/** A classifier or a set of heads in a file. */
export interface PerceptualPart {
  /** Which classifier it is, or the heads are for; null if it is none of LPIPS's. */
  readonly net: PerceptualNet | null;
  /** What it is, in words, such as "AlexNet" or "heads for VGG16". */
  readonly words: string;
  /** Its tensors: of a classifier under torchvision's numbers ("0.weight"), of heads under "linK.model.1.weight". */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
}

/** What a file holds of LPIPS. */
export interface PerceptualParts {
  readonly backbone: PerceptualPart | null;
  readonly heads: PerceptualPart | null;
}

/**
 * Recognises the parts of LPIPS in a file: a classifier as torchvision saves it, the published heads, a whole
 * `lpips.LPIPS().state_dict()`, or one of these in a checkpoint, under any prefix.
 */
export function perceptualPartsOf(tensors: ReadonlyMap<string, StoredTensor>): PerceptualParts {
  const backbone = new Map<string, StoredTensor>(), heads = new Map<string, StoredTensor>();
  for (const [key, tensor] of tensors) {
    // `lins.K`, which the lpips package saves beside `linK`, are the same numbers again
    const head = /^(?:.*\.)?(lin\d+\.model\.1\.weight)$/.exec(key)?.[1];
    if (head !== undefined) heads.set(head, tensor);
    // `net.sliceK` in LPIPS, `features` in torchvision, or the numbers alone
    const layer = /^(?:(?:.*\.)?net\.slice\d+\.|features\.)?(\d+\..+)$/.exec(key)?.[1];
    if (layer !== undefined) backbone.set(layer, tensor);
  }
  return {
    backbone: backbone.size > 0 ? { ...classifier(backbone), tensors: backbone } : null,
    heads: heads.size > 0 ? { ...headsFor(heads), tensors: heads } : null,
  };
}

/** The numbers of the convolutions in torchvision's networks. (In SqueezeNet they are those of its fire modules.) */
const convolutions: Readonly<Record<string, readonly number[]>> = {
  VGG11: [0, 3, 6, 8, 11, 13, 16, 18],
  VGG13: [0, 2, 5, 7, 10, 12, 15, 17, 20, 22],
  VGG16: [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
  VGG19: [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34],
  AlexNet: [0, 3, 6, 8, 10],
  "SqueezeNet 1.0": [0, 3, 4, 5, 7, 8, 9, 10, 12],
  "SqueezeNet 1.1": [0, 3, 4, 6, 7, 9, 10, 11, 12],
};

function classifier(tensors: PerceptualPart["tensors"]): Pick<PerceptualPart, "net" | "words"> {
  const numbers = new Set<number>();
  for (const [key, { shape }] of tensors) if (shape.length === 4) numbers.add(parseInt(key));
  const found = [...numbers].sort((a, b) => a - b);
  const [name] = Object.entries(convolutions).find(([, known]) => `${known}` === `${found}`) ?? [];
  const net = (Object.keys(perceptualNames) as PerceptualNet[]).find((net) => perceptualNames[net] === name);
  const first = tensors.get(`${found[0]}.weight`)?.shape;
  const unknown = first
    ? `a network whose first layer has shape [${first}]`
    : "a network without convolutions";
  return { net: net ?? null, words: name ?? unknown };
}

/** The channels at the taps of the classifiers. */
const taps: Readonly<Record<PerceptualNet, readonly number[]>> = {
  vgg: [64, 128, 256, 512, 512],
  squeeze: [64, 128, 256, 384, 384, 512, 512],
  alex: [64, 192, 384, 256, 256],
};

function headsFor(tensors: PerceptualPart["tensors"]): Pick<PerceptualPart, "net" | "words"> {
  const channels = Array.from(
    { length: tensors.size },
    (_, i) => tensors.get(`lin${i}.model.1.weight`)?.shape[1],
  );
  const net = (Object.keys(taps) as PerceptualNet[]).find((net) => `${taps[net]}` === `${channels}`) ?? null;
  const unknown = `heads for a network with ${channels.map((n) => n ?? "?").join(", ")} channels`;
  return { net, words: net ? `heads for ${perceptualNames[net]}` : unknown };
}

/** The weights of LPIPS in one file, or in the two that are published. */
export type PerceptualFiles = {
  /** The classifier as torchvision saves it, with keys `features.N.weight` or `N.weight`. */
  readonly backbone: CheckpointSource;
  /** The weights of each tap's channels, with keys `linK.model.1.weight`. */
  readonly heads: CheckpointSource;
} | {
  /** A file with both: `lpips.LPIPS().state_dict()`, or a checkpoint that holds it. */
  readonly whole: CheckpointSource;
};

/**
 * Fills an LPIPS network from files.
 *
 * @example From files that the user of a page chose
 * ```ts
 * import { loadPerceptual, LPIPS } from "@tessera/vqgan/core";
 *
 * async function load(backbone: File, heads: File): Promise<LPIPS> {
 *   const lpips = new LPIPS("alex");
 *   await loadPerceptual(lpips, { backbone, heads });
 *   return lpips;
 * }
 * ```
 * @throws if a file holds another network, heads for another one, or not all tensors; or if a path is given and paths
 * cannot be opened here.
 */
export async function loadPerceptual(lpips: LPIPS, files: PerceptualFiles): Promise<void> {
  // torchvision numbers layers without slices: its `features.7` is our `net.slice2.7`
  const own = { backbone: new Map<string, Tensor>(), heads: new Map<string, Tensor>() };
  for (const [key, t] of lpips.stateDict()) {
    if (key.startsWith("net.")) own.backbone.set(key.replace(/^net\.slice\d+\./, ""), t);
    else if (key.startsWith("lin")) own.heads.set(key, t);
  }
  const { backbone, heads } = "whole" in files ? { backbone: files.whole, heads: files.whole } : files;
  for (const [part, source] of [["backbone", backbone], ["heads", heads]] as const) {
    await withCheckpoint("loadPerceptual", source, async ({ tensors, path }) => {
      const found = perceptualPartsOf(tensors)[part], name = perceptualNames[lpips.kind];
      const needed = part === "backbone" ? name : `heads for ${name}`;
      if (found?.net !== lpips.kind) {
        throw new Error(
          `${path}: ${needed} expected, but it holds ${contentsOf(perceptualPartsOf(tensors))}`,
        );
      }
      await fillTensors(own[part], found.tensors, path, { whose: "the perceptual network's" });
    });
  }
  lpips.ready = true;
}

/** Says what a file holds of LPIPS: "AlexNet and heads for VGG16". */
export function contentsOf({ backbone, heads }: PerceptualParts): string {
  const parts = [backbone, heads].flatMap((part) => part ? [part.words] : []);
  return parts.length > 0
    ? parts.join(" and ")
    : "neither a classifier (keys features.N.weight) nor heads (linN.model.1.weight)";
}
