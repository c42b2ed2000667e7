// When the discriminator starts: what is written, which step it means, and when a plateau is reached.
import { expect, test } from "bun:test";
import { changeAt, describeStart } from "../../../train/gan/announce.ts";
import { notYet, parseStart, Plateau, startStep } from "../../../train/gan/start.ts";
import { preset } from "../../../data/formats/config.ts";

test("a start is a step, a share of the run, passes over the pictures or a plateau", () => {
  const length = { steps: 1001, pictures: 30, perStep: 4 };
  const wanted = {
    0: 0,
    500: 500,
    "0%": 0,
    "50%": 500,
    "12.5%": 125,
    "100%": 1001,
    "1epoch": 8,
    "2epochs": 15,
  };
  for (const [start, step] of Object.entries(wanted)) {
    expect([start, startStep(start, length)]).toEqual([start, step]);
  }
  expect(startStep(500, length)).toBe(500);
  expect(startStep("0.5epochs", length)).toBe(4);
  expect(startStep("plateau", length)).toBe(notYet);
  for (
    const wrong of [
      "",
      "-1",
      "1.5",
      "101%",
      "half",
      "2 epochs",
      "epochs",
      "50%%",
      "1e3",
      -1,
      1.5,
      NaN,
      null,
      {},
    ]
  ) {
    expect([wrong, parseStart(wrong)]).toEqual([wrong, null]);
  }
});

test("a plateau is two measurements that are less than 1 % below the lowest before them", () => {
  const firesAt = (losses: number[]) => {
    const plateau = new Plateau();
    return losses.findIndex((loss) => plateau.observe(loss));
  };
  expect(firesAt([1, 0.9, 0.8, 0.7, 0.6])).toBe(-1);
  expect(firesAt([1, 0.9, 0.895, 0.892])).toBe(3);
  expect(firesAt([1, 0.9, 0.895, 0.89, 0.889])).toBe(4); // 0.89 is more than 1 % below 0.9
  expect(firesAt([1, 1.1])).toBe(-1);
  expect(firesAt([1, 1.1, 1.2])).toBe(2);
  // the lowest loss may be long ago
  expect(firesAt([1, 0.5, 0.8, 0.45, 0.6, 0.5])).toBe(5);
});

test("a plateau goes on from its values, and refuses others", () => {
  const losses = [1, 0.5, 0.8, 0.45, 0.6, 0.5];
  let plateau = new Plateau();
  const found = losses.map((loss) => {
    const next = new Plateau();
    next.restore(JSON.parse(JSON.stringify(plateau.values())));
    plateau = next;
    return plateau.observe(loss);
  });
  expect(found.indexOf(true)).toBe(5);
  plateau.forget();
  expect(plateau.observe(9)).toBe(false);
  for (const wrong of [null, {}, ["1"], [null]]) {
    expect(() => new Plateau().restore(wrong)).toThrow("list of numbers");
  }
});

test("a run says when the discriminator starts, and at each change", () => {
  const at = (discStart: number) => preset("faces", { lossconfig: { discStart } }).lossconfig;
  const gan = { start: null, warmup: 0, ramp: 0 };
  expect(describeStart(at(0), gan, 0, 50)).toBe(null);
  expect(describeStart(at(100), gan, 100, 50)).toBe(null);
  expect(describeStart(at(100), { ...gan, start: "10%" }, 0, 50)).toBe(
    "the discriminator takes effect from step 100 on (10%)",
  );
  expect(describeStart(at(100), { ...gan, warmup: 20, ramp: 30 }, 0, 50)).toBe(
    "the discriminator starts at step 100; its gradient reaches the autoencoder from step 120 on, and in full from step 150 on",
  );
  expect(describeStart(at(notYet), { start: "plateau", warmup: 20, ramp: 30 }, 0, 50)).toBe(
    "the discriminator starts when rec_loss has fallen by less than 1 % in 2 measurements, 50 steps apart; " +
      "it then learns alone for 20 steps and gains influence over 30 steps",
  );
  const changes = (discStart: number, changes: Partial<typeof gan>) =>
    [0, 10, 15, 20].map((step) => changeAt(at(discStart), { ...gan, ...changes }, step));
  expect(changes(0, {})).toEqual([null, null, null, null]);
  expect(changes(10, {})).toEqual([
    null,
    "the discriminator starts: its gradient reaches the autoencoder",
    null,
    null,
  ]);
  expect(changes(10, { warmup: 5, ramp: 5 })).toEqual([
    null,
    "the discriminator starts, and learns alone for 5 steps",
    "the discriminator has learnt alone for 5 steps: its gradient reaches the autoencoder, and gains influence over 5 steps",
    "the discriminator counts in full",
  ]);
});
