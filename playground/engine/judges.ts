// The networks that judge pictures: the discriminator in the file of the model, and LPIPS, from the same file or from files of
// its own.
import {
  asyncScope,
  blobSource,
  loadPerceptual,
  LPIPS,
  NLayerDiscriminator,
  noGrad,
  perceptualNetworksIn,
  type Picture,
  readCheckpoint,
  type Tensor,
  tensor,
  toFloats,
} from "../../core.ts";
import { fillModule } from "../../nn/fill.ts";
import { contentsOf, perceptualNames, perceptualPartsOf } from "../../nn/perceptual_files.ts";
import type { FoundPerceptual } from "../../core.ts";
import type { Engine } from "./engine.ts";

/** What the judges say. */
export interface Verdicts {
  /** The discriminator's logits at each pixel, row by row, above 0 where it takes the picture for real; null if the file has none. */
  readonly discriminator: {
    readonly real: Float32Array;
    readonly made: Float32Array;
    /** The side of the patches that it looks at, in pixels. */
    readonly patch: number;
  } | null;
  /** How much each pixel counts in LPIPS, row by row; null without weights. */
  readonly lpips: { readonly map: Float32Array; readonly distance: number; readonly name: string } | null;
}

/** What is loaded for an engine. */
interface Judges {
  /** The file of the model whose discriminator this is. */
  source: Blob | null;
  discriminator: NLayerDiscriminator | null;
  lpips: LPIPS | null;
  /** Where the weights of LPIPS are. */
  files: FoundPerceptual<Blob> | null;
  /** Files with a half of LPIPS, until the other half comes. */
  halves: File[];
}

const all = new WeakMap<Engine, Judges>();

function judgesOf(engine: Engine): Judges {
  const found = all.get(engine) ??
    { source: null, discriminator: null, lpips: null, files: null, halves: [] };
  all.set(engine, found);
  return found;
}

/** Where the weights of LPIPS are, for a copy of it; null if there are none. */
export async function perceptualFiles(engine: Engine): Promise<FoundPerceptual<Blob> | null> {
  return (await load(engine)).files;
}

/** Reads what the file of the model has for judging, unless that was done. */
async function load(engine: Engine): Promise<Judges> {
  const judges = judgesOf(engine), { source, model } = engine;
  if (judges.source === source) return judges;
  judges.discriminator?.dispose();
  judges.discriminator = null;
  const file = await readCheckpoint(blobSource("the model", source));
  const { discNdf: ndf, discNumLayers: numLayers } = model.config.lossconfig;
  const prefix = "loss.discriminator";
  if ([...file.tensors.keys()].some((key) => key.startsWith(prefix))) {
    const discriminator = new NLayerDiscriminator({ ndf, numLayers }, null);
    await fillModule(discriminator, file, { whose: "the discriminator's", prefix });
    judges.discriminator = discriminator;
  }
  const { backbone, heads } = perceptualPartsOf(file.tensors);
  await file.close();
  if (!judges.lpips && backbone?.net && backbone.net === heads?.net) {
    await takeLpips(judges, { net: backbone.net, files: { whole: source } });
  }
  judges.source = source;
  return judges;
}

async function takeLpips(judges: Judges, files: FoundPerceptual<Blob>): Promise<void> {
  const lpips = new LPIPS(files.net);
  await loadPerceptual(lpips, files.files);
  judges.lpips?.dispose();
  judges.lpips = lpips;
  judges.files = files;
}

/**
 * Takes a file of LPIPS: a classifier, heads, or both. Halves wait for each other.
 * @returns what the file is, in words, and whether LPIPS is whole now; null if it is no part of LPIPS
 */
export async function lpips(
  engine: Engine,
  { file }: { readonly file: File },
): Promise<{ readonly words: string; readonly isWhole: boolean } | null> {
  const opened = await readCheckpoint(blobSource(file.name, file)), parts = perceptualPartsOf(opened.tensors);
  const isModel = "family" in opened.model;
  await opened.close();
  if (isModel || !(parts.backbone?.net || parts.heads?.net)) return null;
  const judges = judgesOf(engine), words = contentsOf(parts);
  judges.halves.push(file);
  const found = await perceptualNetworksIn(judges.halves).catch(() => null);
  if (found === null) return { words, isWhole: false };
  judges.halves = [];
  await takeLpips(judges, found[0]);
  return { words: `LPIPS with ${perceptualNames[found[0].net]}`, isWhole: true };
}

/** Compares a picture with what the decoder made of it. Both have the same size. */
export async function judge(
  engine: Engine,
  { picture, made }: { readonly picture: Picture; readonly made: Picture },
): Promise<Verdicts> {
  const { discriminator, lpips } = await load(engine);
  return await asyncScope(async () => {
    const [a, b] = [picture, made].map(({ pixels, width, height }) =>
      tensor(toFloats(pixels), [1, height, width, 3])
    );
    const scores = async (images: Tensor) => await noGrad(() => discriminator!.map(images)).floats();
    const map = lpips ? noGrad(() => lpips.map(a, b)) : null;
    return {
      discriminator: discriminator
        ? { real: await scores(a), made: await scores(b), patch: discriminator.patch.size }
        : null,
      lpips: lpips && map
        ? {
          map: await map.floats(),
          distance: await noGrad(() => lpips.call(a, b)).item(),
          name: perceptualNames[lpips.kind],
        }
        : null,
    };
  });
}
