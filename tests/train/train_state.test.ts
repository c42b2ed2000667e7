// What a training keeps beside weights and moments is in its checkpoints, and nowhere else.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { configOf, convertCheckpoint, openCheckpoint } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { keep, memory, tensor } from "../../src/index.ts";
import { beginRun, checkpointOf, restoreTrainer, train } from "../../train/index.ts";
import type { TrainState } from "../../train/train_state.ts";
import { runFixture } from "../support/runs.ts";

setDefaultTimeout(60_000);

const folder = await mkdtemp(join(tmpdir(), "tessera-train-state-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

class Counter implements TrainState {
  readonly name = "counter";
  readonly sum = keep(tensor([1, 2, 3]));
  count = 0;

  tensors() {
    return new Map([["sum", this.sum]]);
  }
  values() {
    return { count: this.count };
  }
  restore(values: unknown) {
    const { count } = (values ?? {}) as { count?: number };
    if (typeof count !== "number") throw new Error(`count is ${count}, expected a number`);
    this.count = count;
  }
  dispose() {
    this.sum.dispose();
  }
}

test("states of a training are saved and restored with the run, and freed with the trainer", async () => {
  const start = memory().liveTensors; // in Bun other files' tests run in the same process
  const run = await beginRun(newRun({ steps: 1 }));
  const saved = new Counter();
  run.trainer.states.push(saved);
  saved.sum.write(Float32Array.of(4, 5, 6));
  saved.count = 7;
  await train(run);
  const path = await checkpointOf(run.folder.path);

  const other = await beginRun(newRun({ steps: 1 })), restored = new Counter();
  other.trainer.states.push(restored);
  await restoreTrainer(path, other.trainer);
  expect([restored.count, await restored.sum.floats()]).toEqual([7, Float32Array.of(4, 5, 6)]);

  other.trainer.states[other.trainer.states.indexOf(restored)] = Object.assign(new Counter(), {
    name: "clock",
  });
  await expect(restoreTrainer(path, other.trainer)).rejects.toThrow("training.clock.sum");
  restored.dispose();

  // weights alone have none of it
  const bare = join(folder, "bare.safetensors");
  const checkpoint = await openCheckpoint(path);
  await convertCheckpoint(checkpoint, bare, { config: configOf(checkpoint).config, optimizers: false });
  await checkpoint.close();
  const file = await openCheckpoint(bare);
  expect([...file.stored.keys()].filter((key) => key.startsWith("training."))).toEqual([]);
  await file.close();
  (await VQGAN.load(path)).dispose();

  const before = memory().liveTensors;
  run.trainer.dispose();
  other.trainer.dispose();
  expect(memory().liveTensors).toBeLessThan(before);
  for (const { trainer, folder } of [run, other]) {
    trainer.model.dispose();
    folder.release();
  }
  expect(memory().liveTensors).toBe(start);
});
