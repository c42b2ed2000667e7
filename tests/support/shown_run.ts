// A folder like that of a run, with made-up numbers and pictures, for the tests of what shows runs.
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { psnr, type Reconstructed, RunFolder } from "../../train/index.ts";
import { blob } from "./runs.ts";

/** A picture and a version of it that is darker. */
export function reconstructed(seed: number, share: number): Reconstructed {
  const input = blob(seed, 24);
  const output = { ...input, pixels: input.pixels.map((value) => value * share) };
  return { path: `/pictures/<b>${seed}.png`, psnr: psnr(input, output), input, output };
}

/** Makes the folder of a run of 100 steps that has done 40. */
export async function shownRun(out: string, name: string): Promise<RunFolder> {
  const path = join(out, name);
  await mkdir(path, { recursive: true });
  const folder = new RunFolder(path);
  await writeFile(join(path, "config.json"), JSON.stringify({ steps: 100, data: ["/pictures"], lr: 1e-4 }));
  for (let step = 0; step <= 40; step++) {
    if (step > 0) await folder.addMetrics(trainLine(step));
    if (step % 20 !== 0) continue;
    await folder.addMetrics({
      step,
      "val/psnr": 20 + step / 10,
      "val/ssim": 0.8,
      "seen/psnr": 21 + step / 10,
    });
    await folder.saveSheet("step", step, [1, 2, 3].map((seed) => reconstructed(seed, 0.5 + step / 100)));
    await folder.saveSheet("worst", step, [3, 1].map((seed) => reconstructed(seed, 0.4 + step / 100)));
  }
  return folder;
}

/** A line of metrics.jsonl as a training step writes it, with a metric that no page knows. */
export function trainLine(step: number): { readonly step: number } & Record<string, number> {
  return {
    step,
    epoch: 0,
    lr: 1e-4,
    passes: step / 25,
    seconds_left: 2 * (100 - step),
    "train/rec_loss": 1 / step,
    "train/disc_loss": 0,
    "train/<i>new</i> thing": step,
  };
}
