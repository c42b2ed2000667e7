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

test("the fall ends at the floor, along a cosine or in a line", () => {
  const schedule = { lr: 1, warmup: 4, steps: 24, lrFloor: 0.2 } as const;
  const rates = (decay: "cosine" | "linear") =>
    [0, 3, 4, 14, 24, 30].map((step) => learningRate({ ...schedule, decay }, step));
  expectClose(rates("cosine"), [0.25, 1, 1, 0.6, 0.2, 0.2], 1e-12);
  expectClose(rates("linear"), [0.25, 1, 1, 0.6, 0.2, 0.2], 1e-12);
  expectClose([learningRate({ ...schedule, decay: "linear" }, 9)], [0.8], 1e-12);
  expectClose([learningRate({ ...schedule, decay: "cosine" }, 9)], [0.2 + 0.4 * (1 + Math.SQRT1_2)], 1e-12);
  expect(() => learningRate({ ...schedule, decay: "linear", lrFloor: 2 }, 0)).toThrow(
    "learningRate: lrFloor is 2, expected at most lr, 1",
  );
});
