// Settings that never take effect, and defaults that follow from others.
import { expect, test } from "bun:test";
import { preset } from "../../../data/formats/config.ts";
import { describePlan } from "../../../train/run/plan.ts";
import {
  defaultOptions,
  type RunSettings,
  suitedInterval,
  suitedLearningRate,
} from "../../../train/run/settings.ts";

const plan = (changes: Partial<RunSettings>, lossconfig = {}) => {
  const settings = { ...defaultOptions, valEvery: 125, model: preset("faces", { lossconfig }), ...changes };
  return describePlan(settings as RunSettings).map(({ text }) => text).join();
};

test("a discriminator that never starts is announced, and one that is off is not", () => {
  expect(plan({}, { discStart: 1000 })).toContain(
    "never takes effect: it would from step 1000 on, and the run ends with step 1000",
  );
  expect(plan({}, { discStart: 999 })).toBe("the discriminator takes effect from step 999 on");
  expect(plan({}, { discStart: 4000, discFactor: 0 })).toBe("");
  expect(plan({}, { discStart: 4000, discWeight: 0 })).toBe("");
});

test("a warm-up as long as the run is announced", () => {
  expect(plan({ warmup: 1000 }, { discStart: 0 })).toContain(
    "rises for 1000 steps, and the run ends with step 1000",
  );
});

test("a run of any length is measured at least eight times, or at every step", () => {
  for (const steps of [1, 2, 7, 8, 9, 15, 16, 100, 400, 1000, 4000, 20_000]) {
    const times = Math.floor(steps / suitedInterval(steps)) + (steps % suitedInterval(steps) === 0 ? 0 : 1);
    expect(times >= Math.min(8, steps)).toBe(true);
    expect(suitedInterval(steps) <= 500).toBe(true);
  }
});

test("the learning rate is taming's for the published model, and four times that with half the channels", () => {
  expect(suitedLearningRate(preset("f16-16384"))).toBe(4.5e-6);
  expect(suitedLearningRate(preset("faces"))).toBe(1.8e-5);
});
