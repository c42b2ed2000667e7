// What finetune and demo share: training with a progress line, and the summary at the end.
import process from "node:process";
import {
  GuardError,
  isFinished,
  type Run,
  type RunNote,
  RunTakenError,
  train,
  type TrainOutcome,
} from "../train/index.ts";
import { picturesPerStep } from "../train/run/settings.ts";
import { stopInWords } from "../train/run/stopping.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { count } from "./options.ts";
import { output, say } from "./output.ts";
import { Progress } from "./progress.ts";
import { commonCode } from "./ranks.ts";
import { typed } from "./typed.ts";

/**
 * Prints what a run says about itself, trains it with a progress line, and prints the results. Ctrl-C saves the run, prints how
 * to continue it, and sets the exit code.
 */
export async function trainWithProgress(run: Run, label: string): Promise<TrainOutcome> {
  for (const note of run.notes) say(inWords(note, run));
  const { settings, trainer, folder, pictures, validation } = run;
  const hasEnded = isFinished(run);
  if (!hasEnded) describePlan(run);
  const monitor = hasEnded ? { log: say, update: () => {}, finish: () => {} } : new Progress({
    total: settings.steps,
    start: trainer.step,
    label,
    unit: "step",
    rate: "seconds each",
    stream: output,
  });
  const interrupt = listenForInterrupt(
    () => monitor.log("stopping: this step is finished and saved; press Ctrl-C again to leave at once"),
    true,
  );
  const goOn = `continue with: ${typed(["finetune", "--resume", folder.path])}`;
  try {
    const outcome = await train(run, { monitor, signal: interrupt.signal });
    if (interrupt.error !== undefined) throw interrupt.error;
    monitor.finish();
    if (outcome.interrupted) {
      process.exitCode = await commonCode(interrupt);
      say(`saved step ${outcome.step}; ${goOn}`);
    } else say(...describeOutcome(outcome));
    return outcome;
  } catch (error) {
    monitor.finish();
    if (run.saved !== null && !(error instanceof RunTakenError || error instanceof GuardError)) {
      say(`step ${run.saved} is saved; ${goOn}`);
    }
    throw error;
  } finally {
    interrupt.dispose();
    for (const [what, set] of [["", pictures], ["validation: ", validation]] as const) {
      const skipped = set?.skippedSummary();
      if (skipped) say(...(what + skipped).split("\n"));
    }
  }
}

function describePlan({ settings, folder, pictures, validation }: Run): void {
  const passes = settings.steps * picturesPerStep(settings) / pictures.length;
  const held = validation ? `, ${validation.length} for validation` : "";
  say(
    `${count(pictures.length, "picture")}${held}; ${count(settings.steps, "step")} of ${settings.batch}` +
      `${settings.accumulate > 1 ? ` x ${settings.accumulate}` : ""}${
        settings.ranks > 1 ? ` on each of ${settings.ranks} ranks` : ""
      } at ${settings.size}x${settings.size}, ` +
      `learning rate ${settings.lr.toPrecision(3)}, ${
        passes.toFixed(passes < 10 ? 1 : 0)
      } passes over the pictures`,
  );
  if (settings.stopWhen) say(`the run ends early ${stopInWords(settings.stopWhen)}`);
  say(`run folder: ${folder.path}`);
}

/** Returns a note with the option that leads on. */
function inWords({ kind, text }: RunNote, { trainer, settings: { steps }, folder }: Run): string {
  if (kind !== "finished") return text;
  const resume = (...options: string[]) => typed(["finetune", "--resume", folder.path, ...options]);
  return trainer.step < steps
    ? `${text}; go on with: ${resume("--stop-when", "never")}`
    : `${text}; go on with a larger total: ${resume("--steps", `${2 * steps}`)}`;
}

/** Describes the measurements before and after the training, and lists the files that were written. */
function describeOutcome(
  { before, after, verdict, checkpoint, curves, comparison, report }: TrainOutcome,
): string[] {
  const lines: string[] = [];
  if (before && after && before !== after) {
    for (const [kind, which] of [["val", "for validation"], ["seen", "of the training"]]) {
      const change = (label: string, name: string, digits: number, unit = "") => {
        const [a, b] = [before[`${kind}/${name}`], after[`${kind}/${name}`]];
        return a && b ? [`${label} ${a.toFixed(digits)} -> ${b.toFixed(digits)}${unit}`] : [];
      };
      const changes = [
        ...change("PSNR", "psnr", 2, " dB"),
        ...change("SSIM", "ssim", 4),
        ...change("LPIPS", "p_loss", 4),
      ];
      if (changes.length > 0) {
        lines.push(`${changes.join(", ")} (${count(after[`${kind}/pictures`], "picture")} ${which})`);
      }
    }
  }
  lines.push(...verdict.lines, `checkpoint: ${checkpoint}`);
  if (curves) lines.push(`curves: ${curves}`);
  if (comparison) lines.push(`before and after: ${comparison}`);
  if (report) lines.push(`report: ${report}`);
  return lines;
}
