// What models make of the pictures of a batch, picture by picture: numbers, features, tokens and faces.
import { type Batch, type Picture, toPictures } from "../../data/index.ts";
import { toFloats } from "../../data/pictures/picture.ts";
import { faceDistance, type FaceNetwork, type LPIPS, samePerson, type VQGAN } from "../../nn/index.ts";
import { asyncScope, currentBackend, noGrad, type Tensor, tensor } from "../../src/index.ts";
import { inTurns } from "../../src/parts.ts";
import { psnr, ssimParts } from "../metrics.ts";
import type { FeatureSpace } from "./spaces.ts";

/** The networks that judge. */
export interface Judges {
  /** LPIPS by any of its networks. */
  readonly lpips: readonly LPIPS[];
  /** Where Fréchet distances are measured, beside the faces'. */
  readonly spaces: readonly FeatureSpace[];
  /** Finds and compares faces; null if they are not measured. */
  readonly faces: FaceNetwork | null;
}

/** The numbers of a picture by the names of metrics; NaN where one does not apply. */
export type Row = Readonly<Record<string, number>>;

/** What the judges see in one picture. */
interface Seen {
  /** Its features in each space. */
  readonly features: readonly Float32Array[];
  /** The numbers of its face; null if it has none, or faces are not measured. */
  readonly face: Float32Array | null;
}

/** What one picture contributes to an evaluation: numbers alone, so that another process can be told. */
export interface Observation {
  /** Its place in the list of pictures. */
  readonly index: number;
  readonly path: string;
  readonly original: Seen;
  /** Of each model, what became of the picture. */
  readonly models: readonly (Seen & { readonly row: Row; readonly tokens: Int32Array })[];
}

/** Observes the pictures of a batch. @returns beside that, of each model, what it made of each picture */
export async function observe(
  models: readonly VQGAN[],
  { pictures, paths, indices }: Batch,
  judges: Judges,
  signal?: AbortSignal,
): Promise<{ readonly observations: Observation[]; readonly made: readonly (readonly Picture[])[] }> {
  return await asyncScope(async () => {
    const before = await lookAt(pictures, judges, signal);
    const made: Picture[][] = [], ofModels: Observation["models"][number][][] = [];
    for (const model of models) {
      const { made: ones, tokens } = await reconstruct(model, pictures, signal);
      const each = tokens.length / ones.length;
      await asyncScope(async () => {
        const after = await lookAt(ones, judges, signal);
        const rows = await compare(pictures, ones, before, after, judges, signal);
        ofModels.push(rows.map((row, i) => ({
          ...seenIn(after, i, judges),
          row,
          tokens: tokens.slice(i * each, (i + 1) * each),
        })));
      });
      made.push(ones);
    }
    const observations = paths.map((path, i) => ({
      index: indices[i],
      path,
      original: seenIn(before, i, judges),
      models: ofModels.map((all) => all[i]),
    }));
    return { observations, made };
  });
}

/** The reconstructions as the 8-bit pictures that a file would hold, and the tokens. */
async function reconstruct(
  model: VQGAN,
  pictures: readonly Picture[],
  signal: AbortSignal | undefined,
): Promise<{ made: Picture[]; tokens: Int32Array }> {
  return await noGrad(() =>
    asyncScope(async () => {
      const images = tensorOf(pictures, model.range);
      const { indices, latents } = await model.encodeInTurns(images, { signal });
      const made = await inTurns(images.backend, model.decodeParts(latents), { signal });
      const [floats, tokens] = await Promise.all([made.floats(), indices.ints()]);
      return { made: toPictures(floats, made.shape, model.range), tokens };
    })
  );
}

function tensorOf(pictures: readonly Picture[], range: VQGAN["range"] = "signed"): Tensor {
  const [{ width, height }] = pictures, length = width * height * 3;
  const values = new Float32Array(pictures.length * length);
  pictures.forEach(({ pixels }, i) => toFloats(pixels, range, values.subarray(i * length, (i + 1) * length)));
  return tensor(values, [pictures.length, height, width, 3]);
}

/** What the judges see in the pictures of a batch. */
interface Look {
  readonly taps: readonly Tensor[][];
  readonly features: readonly Float32Array[];
  readonly faces: readonly (Float32Array | null)[] | null;
}

async function lookAt(
  pictures: readonly Picture[],
  { lpips, spaces, faces }: Judges,
  signal: AbortSignal | undefined,
): Promise<Look> {
  const images = tensorOf(pictures);
  const taps: Tensor[][] = [], features: Float32Array[] = [];
  for (const network of lpips) {
    taps.push(noGrad(() => network.features(images)));
    await pauseOf(images, signal);
  }
  for (const space of spaces) {
    features.push(await noGrad(() => space.call(images)).floats());
    await pauseOf(images, signal);
  }
  const described = await faces?.describe(images) ?? null;
  signal?.throwIfAborted();
  return { taps, features, faces: described && described.map(({ numbers }) => numbers) };
}

/** Lets signals be heard between two networks. */
async function pauseOf(images: Tensor, signal: AbortSignal | undefined): Promise<void> {
  await images.backend.pause();
  signal?.throwIfAborted();
}

/** The part of a look that is of one picture. */
function seenIn({ features, faces }: Look, i: number, { spaces }: Judges): Seen {
  return {
    features: spaces.map(({ size }, s) => features[s].slice(i * size, (i + 1) * size)),
    face: faces?.[i] ?? null,
  };
}

/** The numbers of the pictures of a batch. */
async function compare(
  pictures: readonly Picture[],
  made: readonly Picture[],
  before: Look,
  after: Look,
  { lpips }: Judges,
  signal: AbortSignal | undefined,
): Promise<Row[]> {
  const distances: Record<string, Float32Array> = {}, rows: Row[] = [];
  for (const [i, network] of lpips.entries()) {
    const distance = noGrad(() => network.distance(before.taps[i], after.taps[i]));
    distances[`lpips_${network.kind}`] = await distance.floats();
  }
  for (const [i, original] of pictures.entries()) {
    const likeness = Math.min(original.width, original.height) < 11
      ? NaN // smaller than the window
      : await inTurns(currentBackend(), ssimParts(original, made[i]), { signal });
    const row: Record<string, number> = {
      psnr: psnr(original, made[i]),
      ssim: likeness,
      l1: meanDifference(original, made[i]),
    };
    for (const [name, values] of Object.entries(distances)) row[name] = values[i];
    if (before.faces && after.faces) Object.assign(row, identityOf(before.faces[i], after.faces[i]));
    rows.push(row);
  }
  return rows;
}

/** Whether a face stayed who it was: lost and same are 1 or 0; identity is the distance. NaN where there is no face at all. */
function identityOf(original: Float32Array | null, made: Float32Array | null): Row {
  const distance = original && made ? faceDistance(original, made) : NaN;
  const ofFaces = (value: boolean) => original ? Number(value) : NaN;
  return {
    identity: distance,
    same_person: ofFaces(distance < samePerson),
    face_lost: ofFaces(made === null),
  };
}

/** The mean absolute difference of the 8-bit values, as a fraction of 255. */
function meanDifference(a: Picture, b: Picture): number {
  let sum = 0;
  for (let i = 0; i < a.pixels.length; i++) sum += Math.abs(a.pixels[i] - b.pixels[i]);
  return sum / a.pixels.length / 255;
}
