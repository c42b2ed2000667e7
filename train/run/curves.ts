// The metrics of a run, drawn as curves: loss.png.
import { type Panel, plotCurves, savePng } from "../../data/index.ts";
import type { Metrics } from "../report/metrics_file.ts";

/** The panels with their metrics. Metrics that a run does not have are left out. */
const panels: readonly (Omit<Panel, "series"> & { names: readonly string[] })[] = [
  {
    title: "reconstruction",
    names: ["train/rec_loss", "val/rec_loss", "seen/rec_loss", "train/p_loss", "val/p_loss"],
  },
  { title: "PSNR, dB", names: ["val/psnr", "seen/psnr"] },
  { title: "codebook", names: ["train/quant_loss", "val/quant_loss"] },
  { title: "codes in use, fraction", names: ["train/codebook_usage", "val/codebook_usage"] },
  { title: "perplexity of the codes", names: ["train/perplexity", "val/perplexity"] },
  {
    title: "discriminator (hinge loss: 1 is no better than chance)",
    names: [
      "train/disc_loss",
      "train/logits_real",
      "train/logits_fake",
      "train/logit_gap",
      "train/lecam_loss",
    ],
  },
  {
    title: "share that the discriminator tells right, and factor of the GAN",
    names: ["train/disc_acc_real", "train/disc_acc_fake", "train/disc_factor"],
  },
  {
    title: "adaptive weight, and ratio of the gradients",
    names: ["train/d_weight", "train/d_ratio"],
    logScale: true,
  },
];

/** Draws the curves as a PNG. @returns whether there is anything to draw yet */
export async function drawCurves(path: string, metrics: readonly Metrics[]): Promise<boolean> {
  const drawn = panels.flatMap(({ names, ...panel }): Panel[] => {
    const series = names.map((name) => {
      const points = metrics.filter((m) => typeof m[name] === "number");
      return {
        name,
        steps: points.map(({ step }) => step),
        values: points.map((m) => m[name] as number),
      };
    }).filter(({ values }) => values.length > 1 && values.some((value) => value !== 0));
    return series.length > 0 ? [{ ...panel, series }] : [];
  });
  if (drawn.length === 0) return false;
  await savePng(path, await plotCurves(drawn, { columns: drawn.length > 1 ? 2 : 1, width: 1400 }));
  return true;
}
