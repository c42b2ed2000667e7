// The learning rate over a run.
import { expect, test } from "bun:test";
import { learningRate } from "../../train/index.ts";
import { expectClose } from "../support/expectations.ts";

test("the learning rate rises, then falls along a cosine", () => {
  const schedule = { lr: 1, warmup: 4, steps: 24, decay: "cosine" } as const;
  const rates = [0, 3, 4, 14, 24].map((step) => learningRate(schedule, step));
  expectClose(rates, [0.25, 1, 1, 0.5, 0], 1e-12);
  expect(learningRate({ ...schedule, decay: "constant" }, 20)).toBe(1);
});
