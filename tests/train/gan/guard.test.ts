// The guard by itself: what it smooths, what is a jump and what a good checkpoint, and how it goes on.
import { expect, test } from "bun:test";
import { scope, tensor } from "../../../src/index.ts";
import { Gan } from "../../../train/gan/gan.ts";
import { Guard } from "../../../train/gan/guard.ts";
import { expectClose, expectNoLeak } from "../../support/expectations.ts";

const guardOf = (steps: number, gan = new Gan()) => scope(() => new Guard(steps, gan, tensor([0])));

/** Shows losses to a guard. @returns the number of the first that is a jump */
async function jumpIn(guard: Guard, losses: readonly number[]): Promise<number> {
  for (const [i, value] of losses.entries()) {
    const loss = tensor([value], []), hasJumped = await guard.observe(loss);
    loss.dispose();
    if (hasJumped) return i + 1;
  }
  return -1;
}

const flat = (count: number, value: number) => Array<number>(count).fill(value);

test("a smoothed loss of more than a quarter above its lowest value is a jump", async () => {
  await expectNoLeak(async () => {
    const guard = guardOf(600); // a window of 30 steps, of which every third is looked at
    expect(await jumpIn(guard, flat(90, 0.4))).toBe(-1);
    expectClose([guard.last!.loss, guard.last!.lowest], [0.4, 0.4], 1e-6);
    expect(guard.isGood).toBe(true);
    // 0.6 is half as much again, so half of the way is a jump: of the weights (29/30)^n, those of the last 21 losses have more
    // than half
    const share = (1 - (29 / 30) ** 21) / (1 - (29 / 30) ** 111);
    expect(await jumpIn(guard, flat(30, 0.6))).toBe(21);
    expectClose([guard.last!.loss], [0.4 + 0.2 * share], 1e-6);
    expect(guard.isGood).toBe(false);
    guard.dispose();

    const patient = guardOf(600);
    expect(await jumpIn(patient, [...flat(60, 0.4), ...flat(300, 0.49)])).toBe(-1); // 22 % more stays what it is
    expect(patient.isGood).toBe(false);
    expect(await jumpIn(patient, [...flat(60, 0.3), ...flat(300, 0.42)])).toBeGreaterThan(0); // the lowest counts, not the first
    patient.dispose();
  });
});

test("the window is a twentieth of the run, from 30 to 100 steps", () => {
  const windows = [10, 1000, 10_000].map((steps) => {
    const guard = guardOf(steps), { window } = guard.values();
    guard.dispose();
    return window;
  });
  expect(windows).toEqual([30, 50, 100]);
});

test("nothing is a jump before the first window is full, and losses that are forgotten do not count", async () => {
  const guard = guardOf(600);
  expect(await jumpIn(guard, [...flat(10, 0.1), ...flat(19, 10)])).toBe(-1);
  guard.forget();
  expect(guard.last).toBe(null);
  expect(await jumpIn(guard, [...flat(40, 10), ...flat(40, 1)])).toBe(-1);
  guard.dispose();
});

test("each return halves the GAN", () => {
  const gan = new Gan(), guard = guardOf(600, gan);
  const scales = [0, 1, 2].map((times) => {
    guard.returns = times;
    return gan.scale;
  });
  expect(scales).toEqual([1, 0.5, 0.25]);
  guard.dispose();
});

test("goes on from its values with the same numbers, and refuses others", async () => {
  const losses = [...flat(45, 0.4), ...flat(10, 0.5), ...flat(40, 0.6)];
  const whole = guardOf(600), wanted = await jumpIn(whole, losses);
  const first = guardOf(600);
  expect(await jumpIn(first, losses.slice(0, 50))).toBe(-1);
  first.returns = 1;
  const gan = new Gan(), second = guardOf(2000, gan);
  second.restore(JSON.parse(JSON.stringify(first.values())));
  second.tensors().get("average")!.write(await first.tensors().get("average")!.floats());
  expect([second.returns, gan.scale, second.isGood, second.last]).toEqual([1, 0.5, first.isGood, first.last]);
  expect(50 + await jumpIn(second, losses.slice(50))).toBe(wanted);
  expect(second.last).toEqual(whole.last);
  const values = second.values();
  for (
    const [change, message] of [
      [{ window: 0 }, "guard: window is 0, expected a whole number >= 1"],
      [{ lowest: "low" }, 'guard: lowest is "low", expected a number above 0, or null'],
      [{ returns: -1 }, "guard: returns is -1, expected a whole number >= 0"],
    ] as const
  ) {
    expect(() => second.restore({ ...values, ...change })).toThrow(message);
  }
  expect(() => second.restore(null)).toThrow("guard: it is null, expected an object");
  for (const guard of [whole, first, second]) guard.dispose();
});
