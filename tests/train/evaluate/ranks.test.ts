// Several ranks evaluate together: the same bits as one, also where pictures cannot be read, and one end for all.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { ImageDataset, savePng } from "../../../data/index.ts";
import { type LPIPS, VQGAN } from "../../../nn/index.ts";
import { Random } from "../../../src/index.ts";
import {
  evaluate,
  type EvaluateOptions,
  type Ranks,
  RankStoppedError,
  squeezeSpace,
} from "../../../train/index.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { randomLpips } from "../../support/lpips.ts";
import { allRanks, onRanks } from "../../support/ranks.ts";
import { blob } from "../../support/runs.ts";
import { smallConfig } from "../../support/small_model.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

const side = 32, all = Array.from({ length: 9 }, (_, i) => `${i}.png`), broken = ["1.png", "2.png", "3.png"];
const whole = all.filter((name) => !broken.includes(name));
let folder: string, models: { name: string; model: VQGAN }[], lpips: LPIPS;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-evaluate-"));
  for (const [i, name] of all.entries()) {
    if (broken.includes(name)) await writeFile(join(folder, name), "no picture");
    else await savePng(join(folder, name), blob(i === 7 ? 6 : i, side)); // two are equally bad
  }
  models = [1, 2].map((seed) => ({
    name: `seed ${seed}`,
    model: new VQGAN(smallConfig({ perceptualWeight: 0 }), new Random(seed)).eval(),
  }));
  lpips = randomLpips();
});
afterAll(async () => {
  for (const { model } of models) model.dispose();
  lpips.dispose();
  await rm(folder, { recursive: true });
});

async function evaluated(
  ranks: Ranks | undefined,
  options: Partial<EvaluateOptions>,
  { told = [], names = all }: { told?: string[]; names?: readonly string[] } = {},
) {
  const onSkip = (path: string) => void told.push(basename(path));
  const paths = names.map((name) => join(folder, name));
  const pictures = new ImageDataset(paths, { size: side, shuffle: false, onSkip });
  return await evaluate(models, pictures, {
    lpips: [lpips],
    spaces: [squeezeSpace(lpips)],
    ranks,
    ...options,
  });
}

test("ranks have the bits of one process", async () => {
  // rank 1 can read only the last picture, and is ahead of the others from its first batch on
  const size = 3, batch = 2, alone = await evaluated(undefined, { batch }), read = whole.length;
  expect([alone.pictures.length, alone.models[1].worst.list.length]).toEqual([read, read]);
  const told = Array.from({ length: size }, (): string[] => []), done: number[] = [];
  const onProgress = (now: number) => done.push(now);
  const results = await allRanks(
    size,
    (ranks) => evaluated(ranks, { batch, onProgress }, { told: told[ranks.rank] }),
  );
  expect(results).toEqual(Array(size).fill(alone));
  expect(told[0].sort()).toEqual(broken); // rank 0 reports those of all
  expect([done.at(-1), done.length < read]).toEqual([read, true]);
});

test("if one rank fails or is told to stop, all end", async () => {
  await expectNoLeak(async () => {
    const failing = {
      ...squeezeSpace(lpips),
      call: () => {
        throw new Error("no memory");
      },
    };
    const failed = await onRanks(
      3,
      (ranks) => evaluated(ranks, ranks.rank === 1 ? { spaces: [failing] } : {}, { names: whole }),
    );
    expect(failed.map((one) => one.status === "rejected" && String(one.reason))).toEqual([
      "RankFailedError: rank 1: no memory",
      "Error: no memory",
      "RankFailedError: rank 1: no memory",
    ]);
    const controller = new AbortController(), reason = new Error("enough");
    const stopped = await onRanks(2, (ranks) =>
      evaluated(ranks, {
        signal: ranks.rank === 1 ? controller.signal : undefined,
        onProgress: () => controller.abort(reason),
      }, { names: whole }));
    expect(stopped.map((one) => one.status === "rejected" && one.reason)).toEqual([
      new RankStoppedError("rank 1 was told to stop"),
      reason,
    ]);
  });
});

test("ranks with other arguments, pictures or weights are told what differs", async () => {
  const told = async (work: (ranks: Ranks) => Promise<unknown>, message: RegExp) => {
    for (const one of await onRanks(2, work)) {
      expect(one.status === "rejected" && one.reason.message).toEqual(expect.stringMatching(message));
    }
  };
  await told(
    (ranks) => evaluated(ranks, { batch: 1 + ranks.rank }),
    /^batch is 1 on rank 0 and 2 on rank 1: start all ranks with the same command and the same files$/,
  );
  const pictures = [whole, whole.slice(1)].map((names) =>
    new ImageDataset(names.map((name) => join(folder, name)), { size: side, shuffle: false })
  );
  await told(
    (ranks) => evaluate(models, pictures[ranks.rank], { ranks }),
    /^rank 1 does not have the same pictures as rank 0 \(5, \w+, and on rank 0 6, \w+\): start all/,
  );
  await told(
    (ranks) => evaluate([{ ...models[ranks.rank], name: "one" }], pictures[0], { ranks }),
    /^rank 1 does not have the same weights as rank 0 .*: give all ranks the same files$/,
  );
});
