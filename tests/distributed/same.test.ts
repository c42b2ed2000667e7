// Which setting differs among ranks, in words.
import { expect, test } from "bun:test";
import { tensor } from "../../src/index.ts";
import { checkSameBits, checkSameSettings, checkSameTexts } from "../../train/distributed/same.ts";
import { expectNoLeak } from "../support/expectations.ts";
import { allRanks } from "../support/ranks.ts";

const messageOf = (...all: object[]) => {
  try {
    checkSameTexts(all.map((one) => JSON.stringify(one)));
  } catch (error) {
    return (error as Error).message.replace(
      /: start all ranks with the same command and the same files$/,
      "!",
    );
  }
};

test("the first setting that differs is named, with its values and their ranks", async () => {
  const settings = { lr: 1e-3, data: ["a", "b"], optimizer: { clip: 1, ema: 0 } };
  expect(messageOf(settings, { ...settings })).toBe(undefined);
  expect(messageOf(settings, { optimizer: { ema: 0, clip: 1 }, data: ["a", "b"], lr: 1e-3 })).toBe(undefined);
  expect(messageOf(settings, settings, { ...settings, lr: 2e-3, data: ["a"] })).toBe(
    "lr is 0.001 on rank 0 and 0.002 on rank 2!",
  );
  expect(messageOf(settings, { ...settings, data: ["a", "c"] })).toBe(
    'data is ["a","b"] on rank 0 and ["a","c"] on rank 1!',
  );
  expect(messageOf(settings, { ...settings, optimizer: { clip: 1, ema: 0.9 } })).toBe(
    "optimizer.ema is 0 on rank 0 and 0.9 on rank 1!",
  );
  expect(messageOf(settings, { ...settings, size: 64 })).toBe("size is not set on rank 0 and 64 on rank 1!");
  expect(messageOf({ ...settings, stopWhen: null }, { ...settings, stopWhen: { patience: 3 } })).toBe(
    'stopWhen is null on rank 0 and {"patience":3} on rank 1!',
  );
  await expect(allRanks(3, (ranks) => checkSameSettings(ranks, { seed: Math.min(ranks.rank, 1) }))).rejects
    .toThrow("seed is 0 on rank 0 and 1 on rank 1: start all ranks");
});

test("weights are compared bit by bit, whatever their type", async () => {
  await expectNoLeak(async () => {
    const tensors = [tensor([1, 2]), tensor(Int32Array.of(1, 2), [2])];
    const others = [tensor([1, 2]), tensor(Int32Array.of(1, 3), [2])];
    await allRanks(2, (ranks) => checkSameBits(ranks, tensors, "repair it"));
    await expect(allRanks(2, (ranks) => checkSameBits(ranks, ranks.isFirst ? tensors : others, "repair it")))
      .rejects
      .toThrow(/^rank 1 does not have the same weights as rank 0 \(\w+, and on rank 0 \w+\): repair it$/);
    for (const one of [...tensors, ...others]) one.dispose();
  });
});
