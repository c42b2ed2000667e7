// How much is done at the same time.
import { expect, test } from "bun:test";
import { Gate } from "../../../data/pictures/gate.ts";

/** Starts a task that ends when it is told to. */
function task(gate: Gate, weight: number | "alone") {
  let end = () => {};
  const until = new Promise<void>((resolve) => end = resolve);
  const seen = { isRunning: false, isShared: false };
  const done = gate.run(weight, async (turn) => {
    seen.isRunning = true;
    await until;
    seen.isShared = turn.isShared;
  });
  return { seen, end: () => (end(), done) };
}

const settled = () => new Promise((resolve) => setTimeout(resolve, 0));

test("a gate lets tasks in, in order, as long as their weights fit", async () => {
  const gate = new Gate(10);
  const tasks = ([6, 5, 1, 20, "alone", 1] as const).map((weight) => task(gate, weight));
  const running = async () => (await settled(), tasks.map(({ seen }) => Number(seen.isRunning)).join(""));
  expect(await running()).toBe("100000"); // the third would fit, and waits for its turn
  await tasks[0].end();
  expect(await running()).toBe("111000");
  await tasks[1].end();
  await tasks[2].end();
  expect(await running()).toBe("111100"); // heavier than the gate's capacity, so it runs alone
  await tasks[3].end();
  expect(await running()).toBe("111110");
  await tasks[4].end();
  await tasks[5].end();
  expect(tasks.map(({ seen }) => seen.isShared)).toEqual([false, true, true, false, false, false]);
});

test("a task that fails leaves the gate open", async () => {
  const gate = new Gate(1);
  await expect(gate.run(1, () => Promise.reject(new Error("broken")))).rejects.toThrow("broken");
  expect(await gate.run(1, () => Promise.resolve(7))).toBe(7);
});
