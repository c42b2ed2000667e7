// Weights from files into modules. The one file of nn that knows data/: reading belongs there, placing by key here,
// and `VQGAN.load(path)` must join the two.
import {
  type CheckpointFile,
  guessConfig,
  openCheckpoint,
  type StoredTensor,
} from "../data/formats/index.ts";
import { Random, type Tensor } from "../src/index.ts";
import { preset, type VQModelConfig, type VQModelOverrides, withOverrides } from "../data/formats/config.ts";
import { NLayerDiscriminator } from "./discriminator.ts";
import type { Precision } from "./layers.ts";
import type { LPIPS } from "./lpips.ts";
import { setPrecision } from "./precision.ts";
import { formatReport, type LoadReport, matchState } from "./module.ts";
import { type Half, type PixelRange, VQGAN } from "./vqgan.ts";

export interface LoadOptions {
  /** Also load the discriminator and the perceptual network, for training. Default false. */
  readonly withLoss?: boolean;
  /** Default `signed`. */
  readonly range?: PixelRange;
  /** Load this half alone, with the codebook; see `VQGANOptions`. */
  readonly only?: Half;
  /** What the file's shapes do not tell, or what should differ: loss settings, attention order, beta. */
  readonly config?: VQModelOverrides;
  /** How activations are stored, default f32; see `setPrecision`. */
  readonly precision?: Precision;
  /** Seed of a new discriminator, for a file without one. Default 0. */
  readonly seed?: number;
  /** Called after each tensor with the bytes read so far and in all. */
  readonly onProgress?: (bytes: number, total: number) => void;
}

export interface LoadedVQGAN {
  readonly model: VQGAN;
  readonly report: LoadReport;
  /** Where the discriminator's weights came from; null without `withLoss`. */
  readonly discriminator: "file" | "new" | null;
  /** Whether LPIPS has weights, from this file; if not, `loadPerceptual` gives it some. */
  readonly perceptual: boolean;
}

/**
 * `VQGAN.load` with an account of what was found.
 * @throws if the file cannot be read, or lacks a tensor of the autoencoder or has it in another shape; if f16 is asked of a
 * device that has none.
 */
export async function loadVQGAN(path: string, options: LoadOptions = {}): Promise<LoadedVQGAN> {
  const file = await openCheckpoint(path);
  try {
    const config = withOverrides(configOf(file), options.config ?? {});
    const { withLoss, range, only } = options;
    const model = new VQGAN(config, null, { withLoss, range, only });
    try {
      setPrecision(model, options.precision ?? "f32");
      return await fill(model, file, options);
    } catch (error) {
      model.dispose();
      throw error;
    }
  } finally {
    await file.close();
  }
}

/**
 * The config that Tessera wrote beside the weights, or what the shapes tell.
 * @throws if it cannot be used, or these are not all tensors of a VQGAN.
 */
export function configOf(file: CheckpointFile): VQModelConfig {
  const written = file.metadata.config;
  if (written === undefined) return withOverrides(preset("f16-16384"), guessConfig(file));
  try {
    return withOverrides(preset("f16-16384"), JSON.parse(written) as VQModelOverrides);
  } catch (error) {
    throw new Error(`${file.path}: the config in its metadata cannot be used: ${(error as Error).message}`);
  }
}

async function fill(model: VQGAN, file: CheckpointFile, options: LoadOptions): Promise<LoadedVQGAN> {
  const own = model.stateDict();
  const report = matchShapes(own, file.tensors);
  const vital = new Set([...report.missing, ...report.mismatched.map((m) => m.key)]);
  const lost = [...vital].filter((key) => !key.startsWith("loss."));
  if (lost.length > 0) {
    throw new Error(
      `${file.path}: ${lost.length} of the autoencoder's tensors do not fit the model\n${
        formatReport(report)
      }`,
    );
  }
  await readTensors(own, file.tensors, report.matched, options.onProgress);
  if (!model.loss) return { model, report, discriminator: null, perceptual: false };

  const complete = (prefix: string) => ![...vital].some((key) => key.startsWith(prefix));
  const perceptual = model.loss.perceptual_loss !== null && complete("loss.perceptual_loss.");
  if (model.loss.perceptual_loss) model.loss.perceptual_loss.ready = perceptual;
  const found = complete("loss.discriminator.");
  if (!found) renew(model, new Random(options.seed ?? 0));
  return { model, report, discriminator: found ? "file" : "new", perceptual };
}

/** Initial weights for the discriminator, in place. */
function renew(model: VQGAN, random: Random): void {
  const { discNdf: ndf, discNumLayers: numLayers } = model.config.lossconfig;
  const fresh = new NLayerDiscriminator({ ndf, numLayers }, random);
  model.loss?.discriminator.loadStateDict(fresh.stateDict());
  fresh.dispose();
}

/** Files with LPIPS weights as torchvision and the LPIPS package publish them. */
export interface PerceptualFiles {
  /** The classifier: keys `features.N.weight` or `N.weight`. */
  readonly backbone: string;
  /** The weights per channel: keys `linK.model.1.weight`. */
  readonly heads: string;
}

/**
 * Fills an LPIPS network from its two published files.
 *
 * @example
 * const lpips = new LPIPS("squeeze");
 * await loadPerceptual(lpips, { backbone: "squeeze.backbone.pth", heads: "lin_v0.1.pth" });
 * @throws if a file lacks a tensor that the network needs.
 */
export async function loadPerceptual(lpips: LPIPS, files: PerceptualFiles): Promise<void> {
  const own = lpips.stateDict();
  // torchvision counts layers through: its `features.7` is our `net.slice2.7`
  const byNumber = new Map<string, Tensor>(), heads = new Map<string, Tensor>();
  for (const [key, t] of own) {
    if (key.startsWith("net.")) byNumber.set(key.replace(/^net\.slice\d+\./, ""), t);
    else if (key.startsWith("lin")) heads.set(key, t);
  }
  await fillAll(byNumber, files.backbone, (key) => key.replace(/^features\./, ""));
  await fillAll(heads, files.heads, (key) => key);
  lpips.ready = true;
}

async function fillAll(
  own: Map<string, Tensor>,
  path: string,
  rename: (key: string) => string,
): Promise<void> {
  const file = await openCheckpoint(path);
  try {
    const stored = new Map([...file.tensors].map(([key, t]) => [rename(key), t]));
    const report = matchShapes(own, stored);
    if (report.matched.length < own.size) {
      throw new Error(
        `${path}: these are not the weights of the perceptual network\n${formatReport(report)}`,
      );
    }
    await readTensors(own, stored, report.matched);
  } finally {
    await file.close();
  }
}

function matchShapes(
  own: ReadonlyMap<string, Tensor>,
  stored: ReadonlyMap<string, Pick<StoredTensor, "shape">>,
): LoadReport {
  return matchState(own, new Map([...stored].map(([key, t]) => [key, t.shape])));
}

/** Streams the named tensors from a file into place; the rest of the file is never read. */
export async function readTensors(
  own: ReadonlyMap<string, Tensor>,
  stored: ReadonlyMap<string, StoredTensor>,
  keys: readonly string[],
  onProgress?: (bytes: number, total: number) => void,
): Promise<void> {
  const total = keys.reduce((sum, key) => sum + stored.get(key)!.byteLength, 0);
  let bytes = 0;
  for (const key of keys) {
    const target = own.get(key)!;
    await stored.get(key)!.readFloats((chunk, offset) => target.write(chunk, offset));
    bytes += stored.get(key)!.byteLength;
    onProgress?.(bytes, total);
  }
}
