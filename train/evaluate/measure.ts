// Measures what models make of pictures, batch by batch: per-picture numbers, features, tokens and faces. Of the pictures only
// the worst are kept.
import { type Batch, type ImageDataset, type Picture, toPictures } from "../../data/index.ts";
import { toFloats } from "../../data/pictures/picture.ts";
import { faceDistance, type FaceNetwork, type LPIPS, samePerson, type VQGAN } from "../../nn/index.ts";
import { CodebookUsage } from "../../nn/quantizers/codebook_usage.ts";
import { asyncScope, currentBackend, noGrad, type Tensor, tensor } from "../../src/index.ts";
import { inTurns } from "../../src/parts.ts";
import { psnr, ssimParts } from "../metrics.ts";
import { Moments } from "./frechet.ts";
import { faceSize, type FeatureSpace } from "./spaces.ts";
import { WorstReconstructions } from "./worst.ts";

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

/** What was measured of one model. */
export interface Measured {
  /** One for each picture that was read. */
  readonly rows: Row[];
  readonly usage: CodebookUsage;
  /** How many tokens a picture has. */
  tokensEach: number;
  /** By the names of spaces: the features of originals and of reconstructions. */
  readonly moments: Map<string, { readonly originals: Moments; readonly made: Moments }>;
  readonly worst: WorstReconstructions;
}

/** How the work is watched and stopped. */
export interface MeasureOptions {
  readonly batch: number;
  readonly onProgress?: (pictures: number) => void;
  readonly signal?: AbortSignal;
}

/** The number by which the worst pictures are chosen. */
export function worstBy({ lpips, faces }: Judges): string {
  const [first] = [...lpips].sort((a, b) => order.indexOf(a.kind) - order.indexOf(b.kind));
  return first ? `lpips_${first.kind}` : faces ? "identity" : "l1";
}
const order = ["alex", "vgg", "squeeze"];

/**
 * Goes through the pictures once.
 * @returns what was measured of each model, the paths of the pictures that could be read, and the mean distance of the face of
 * each original from that of the next one, for comparison; NaN if there are no two faces
 */
export async function measure(
  models: readonly VQGAN[],
  pictures: ImageDataset,
  judges: Judges,
  { batch: size, onProgress, signal }: MeasureOptions,
): Promise<
  { readonly measured: readonly Measured[]; readonly paths: readonly string[]; readonly strangers: number }
> {
  const spaces = [...judges.spaces, ...judges.faces ? [{ name: "face", size: faceSize }] : []];
  const measured = models.map((model): Measured => ({
    rows: [],
    usage: new CodebookUsage(model.vocabulary),
    tokensEach: 0,
    moments: new Map(
      spaces.map(({ name, size }) => [name, { originals: new Moments(size), made: new Moments(size) }]),
    ),
    worst: new WorstReconstructions(worstBy(judges)),
  }));
  const paths: string[] = [], apart: number[] = [];
  let neighbour: Float32Array | null = null;
  for await (const batch of pictures.once(size)) {
    signal?.throwIfAborted();
    await asyncScope(async () => {
      const before = await lookAt(batch.pictures, judges, signal);
      for (const face of before.faces ?? []) {
        if (face && neighbour) apart.push(faceDistance(face, neighbour));
        neighbour = face ?? neighbour;
      }
      for (const [i, model] of models.entries()) {
        const { made, tokens } = await reconstruct(model, batch.pictures, signal);
        measured[i].usage.add(tokens);
        measured[i].tokensEach = tokens.length / made.length;
        await asyncScope(async () => {
          const after = await lookAt(made, judges, signal);
          await compare(measured[i], batch, made, before, after, judges, signal);
        });
      }
    });
    paths.push(...batch.paths);
    onProgress?.(paths.length);
  }
  if (paths.length === 0) throw new Error(`none of the ${pictures.length} pictures can be read`);
  return { measured, paths, strangers: apart.reduce((sum, d) => sum + d, 0) / apart.length };
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

/** What the judges see in pictures. */
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

/** Adds the numbers of a batch. */
async function compare(
  to: Measured,
  { pictures, paths }: Batch,
  made: readonly Picture[],
  before: Look,
  after: Look,
  { lpips, spaces }: Judges,
  signal: AbortSignal | undefined,
): Promise<void> {
  const distances: Record<string, Float32Array> = {};
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
    to.rows.push(row);
    const isLost = to.worst.metric === "identity" && row.face_lost === 1;
    const value = isLost ? Infinity : row[to.worst.metric];
    to.worst.add({ path: paths[i], value, original, made: made[i] });
    const add = (space: string, original: Float32Array, made: Float32Array) => {
      to.moments.get(space)!.originals.add(original);
      to.moments.get(space)!.made.add(made);
    };
    spaces.forEach(({ name, size }, s) => {
      const part = (features: Float32Array) => features.subarray(i * size, (i + 1) * size);
      add(name, part(before.features[s]), part(after.features[s]));
    });
    const [face, other] = [before.faces?.[i], after.faces?.[i]];
    if (face && other) add("face", face, other);
  }
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
