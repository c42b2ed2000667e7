// Which setting differs among ranks, in words.
import { expect, test } from "bun:test";
import { checkSameSettings, checkSameTexts } from "../../train/distributed/same.ts";
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
