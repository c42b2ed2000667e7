// Goes back to the last good checkpoint of a run when the guard finds that the GAN ruins the pictures (../gan/guard.ts).
import { mostReturns, type Smoothed } from "../gan/guard.ts";
import { ofRank } from "../distributed/same.ts";
import { type DivergedError, GuardError } from "../errors.ts";
import { Random } from "../../src/index.ts";
import { readRunState, restoreTrainer } from "./checkpoint.ts";
import { reasonOf } from "./notes.ts";
import type { Run } from "./run.ts";
import type { Saver } from "./saver.ts";

/** The last checkpoint after which the losses were still good when the next one was saved. */
const goodName = "good.safetensors";
/** The checkpoint after that, of which nobody knows yet: damage takes some steps to show. Both are links to a last.safetensors. */
const newName = "maybe-good.safetensors";

/** Makes sure that there is a good checkpoint before the first step. */
export async function keepFirstGood(run: Run, saver: Saver): Promise<void> {
  const { guard, folder, trainer: { ranks } } = run;
  if (!guard) return;
  const hasGood = await ranks.first("looking", () => folder.hasCheckpoint(goodName));
  if (hasGood && run.saved !== null) return await keepGood(run);
  if (await saver.save()) await ranks.first("keeping", () => folder.keepLastAs(goodName));
}

/**
 * After a checkpoint was saved: if the losses are good, the one before it is a good one. Only those of every so many steps
 * count, so that an interruption changes nothing, and doing it twice does nothing more.
 */
export async function keepGood({ guard, folder, trainer, settings, saved, reporter }: Run): Promise<void> {
  const { step, ranks } = trainer;
  if (!guard?.isGood || saved !== step || step % settings.saveEvery !== 0) return;
  const keep = async () => {
    const before = await readRunState(folder.checkpoint(newName)).catch(() => null);
    if (before !== null && before.step < step) await folder.renameCheckpoint(newName, goodName);
    await folder.keepLastAs(newName);
  };
  await reporter.attempt("kept", step, () => ranks.first("keeping", keep));
}

/** Why a run goes back: the smoothed loss has jumped, or a number is no longer finite. */
export type Trouble = "jump" | DivergedError;

/**
 * Goes back to the last good checkpoint, with half the GAN.
 * @throws GuardError if that was done often enough, would change nothing, or there is no such checkpoint; the run is saved
 * then. A DivergedError is thrown again instead, because there is nothing worth saving
 */
export async function goBack(run: Run, saver: Saver, trouble: Trouble): Promise<void> {
  const { guard, trainer, folder, reporter } = run, { step, model, gan } = trainer;
  const path = folder.checkpoint(goodName);
  const what = trouble === "jump" ? describeJump(step, guard!.last!) : trouble.what;
  const stop = async (why: string) => {
    if (trouble !== "jump") throw trouble;
    await saver.finish();
    throw new GuardError(`${what}, ${why}`, run.saved, path);
  };
  if (gan.generatorFactor(model.config.lossconfig, step - 1) === 0) {
    await stop("before the discriminator had any influence, so a gentler GAN would change nothing");
  }
  const times = guard!.returns;
  if (times >= mostReturns) {
    await stop(
      `although the GAN counts only ${gan.scale} times as much since the run went back ${times} times`,
    );
  }
  await readRunState(path).catch((error) =>
    stop(`and there is no checkpoint to go back to: ${reasonOf(error)}`)
  );
  try {
    await restore(run, path);
  } catch (error) {
    throw new GuardError(`${what}, and going back failed: ${reasonOf(error)}`, run.saved, path);
  }
  guard!.returns = times + 1;
  run.saved = null;
  reporter.add({
    kind: "guard",
    step,
    to: trainer.step,
    text:
      `${what}: back to step ${trainer.step}, and from there on the GAN counts ${gan.scale} times as much as at first`,
  });
  if (await saver.save()) await rewind(run);
}

/** Removes what later steps have left. */
export async function rewind({ trainer: { step, ranks }, folder, reporter }: Run): Promise<void> {
  await reporter.attempt("rewinding", step, () => ranks.first("rewinding", () => folder.rewind(step)));
}

/** Says how far the smoothed loss is above its lowest value. */
function describeJump(step: number, { loss, lowest }: Smoothed): string {
  const percent = Math.round(100 * (loss / lowest - 1));
  return `step ${step}: rec_loss has jumped to ${loss.toFixed(4)}, ${percent} % above its lowest value, ${
    lowest.toFixed(4)
  } (means over some steps)`;
}

/** Fills a run from one of its own checkpoints. */
async function restore(run: Run, path: string): Promise<void> {
  const { trainer, random, progress } = run;
  for (const optimizer of Object.values(trainer.optimizers)) optimizer.dispose(); // what had no moments then has none again
  trainer.lossScale?.dispose();
  const state = await restoreTrainer(path, trainer, { withoutPerceptual: true }); // it does not change
  trainer.model.setDiscStart(state.settings.model.lossconfig.discStart);
  random.dropout.restore(ofRank(Random.from(state.random.dropout), trainer.ranks).state());
  random.restart.restore(state.random.restart);
  const { epoch, sampler, last, patience } = state;
  Object.assign(progress, { epoch, sampler, last, patience, random: state.random }); // the checkpoints that were kept stay
}
