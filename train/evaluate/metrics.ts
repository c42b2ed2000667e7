// The metrics of an evaluation: their names, what they mean, and which direction is better.
import type { PerceptualNet } from "../../nn/index.ts";
import { perceptualNames } from "../../nn/perceptual_files.ts";

/** A metric that has a number for each picture. */
export interface Metric {
  /** Its name in JSON. */
  readonly name: string;
  readonly title: string;
  /** What it is, in one sentence. */
  readonly words: string;
  readonly better: "higher" | "lower";
  /** How many digits after the point are shown. */
  readonly digits: number;
  /** By how much it is multiplied where it is shown, and what follows it there. */
  readonly unit?: { readonly factor: number; readonly text: string };
}

const percent = { factor: 100, text: " %" };

const plain: readonly Metric[] = [
  {
    name: "psnr",
    title: "PSNR",
    words:
      "mean over the pictures of 10 log10(255^2 / mean squared difference of the 8-bit RGB values), in dB",
    better: "higher",
    digits: 2,
    unit: { factor: 1, text: " dB" },
  },
  {
    name: "ssim",
    title: "SSIM",
    words: "of the brightness (BT.601), Gaussian window of 11x11 pixels with sigma 1.5, K1 0.01, K2 0.03",
    better: "higher",
    digits: 4,
  },
  {
    name: "l1",
    title: "L1",
    words: "mean absolute difference of the 8-bit RGB values, as a fraction of 255",
    better: "lower",
    digits: 4,
  },
];

const lpips = (net: PerceptualNet): Metric => ({
  name: `lpips_${net}`,
  title: `LPIPS (${perceptualNames[net]})`,
  words: `LPIPS v0.1 by ${perceptualNames[net]}`,
  better: "lower",
  digits: 4,
});

const faces: readonly Metric[] = [
  {
    name: "same_person",
    title: "same person",
    words:
      "pictures with a face whose distance is below 0.6, of all with a face in the original; a face that is lost is not the same",
    better: "higher",
    digits: 1,
    unit: percent,
  },
  {
    name: "face_lost",
    title: "faces lost",
    words: "pictures with a face in the original in whose reconstruction none was found",
    better: "lower",
    digits: 1,
    unit: percent,
  },
  {
    name: "identity",
    title: "identity distance",
    words: "mean distance of the 128 numbers of original and reconstruction, where both have a face",
    better: "lower",
    digits: 3,
  },
];

/** All metrics, in the order in which they are shown. */
export const metrics: readonly Metric[] = [
  ...plain,
  ...(["alex", "vgg", "squeeze"] as const).map(lpips),
  ...faces,
];

/** A value as it is shown. */
export function shownValue(value: number, { digits, unit = { factor: 1, text: "" } }: Metric): string {
  if (Number.isNaN(value)) return "-";
  const shown = (value * unit.factor).toFixed(digits);
  return `${Number(shown) === 0 ? shown.replace("-", "") : shown}${unit.text}`; // not -0.00
}
