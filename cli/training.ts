// What finetune and demo share: training with a progress line, and the summary at the end.
import { type Run, train, type TrainOutcome } from "../train/index.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { count } from "./options.ts";
import { Progress } from "./progress.ts";

/** Trains with a progress line. Ctrl-C saves the run and prints how to continue it. */
export async function trainWithProgress(run: Run, label: string): Promise<TrainOutcome> {
  const { settings, trainer, folder, pictures, validation } = run;
  const held = validation ? `, ${validation.length} for validation` : "";
  console.log(
    `${count(pictures.length, "picture")}${held}; ${count(settings.steps, "step")} of ${settings.batch}` +
      `${settings.accumulate > 1 ? ` x ${settings.accumulate}` : ""} at ${settings.size}x${settings.size}, ` +
      `learning rate ${settings.lr.toPrecision(3)}`,
  );
  const { discStart } = settings.model.lossconfig;
  if (discStart > trainer.step) console.log(`the discriminator takes effect from step ${discStart} on`);
  console.log(`run folder: ${folder.path}`);
  const monitor = new Progress({ total: settings.steps, start: trainer.step, label, unit: "step" });
  const interrupt = listenForInterrupt(() =>
    monitor.log("stopping: this step is finished and saved; press Ctrl-C again to leave at once")
  );
  try {
    const outcome = await train(run, { monitor, signal: interrupt.signal });
    monitor.finish();
    if (outcome.interrupted) {
      console.log(`saved step ${outcome.step}; continue with: tessera finetune --resume ${folder.path}`);
    }
    return outcome;
  } catch (error) {
    monitor.finish();
    throw error;
  } finally {
    interrupt.dispose();
    const skipped = pictures.skippedSummary();
    if (skipped) console.log(skipped);
  }
}

/** Describes the measurements before and after the training, and lists the files that were written. */
export function describeOutcome({ before, after, checkpoint, curves, comparison }: TrainOutcome): string {
  const lines: string[] = [];
  if (before && after && before !== after) {
    const change = (name: string, digits: number) =>
      `${before[name].toFixed(digits)} -> ${after[name].toFixed(digits)}`;
    const lpips = after["val/p_loss"] > 0 ? `, LPIPS ${change("val/p_loss", 4)}` : "";
    lines.push(`PSNR ${change("val/psnr", 2)} dB, SSIM ${change("val/ssim", 4)}${lpips}`);
  }
  lines.push(`checkpoint: ${checkpoint}`);
  if (curves) lines.push(`curves: ${curves}`);
  if (comparison) lines.push(`before and after: ${comparison}`);
  return lines.join("\n");
}
