// Long computations in parts: run at once, or in turns with other events.
import { describe, expect, test } from "bun:test";
import { currentBackend, memory, scope, type Tensor, tensor } from "../../src/index.ts";
import { finish, inTurns, type Parts, scopeParts } from "../../src/parts.ts";
import { expectNoLeak } from "../support/expectations.ts";

/** Adds 1 to x so many times, with intermediate tensors that nobody frees. */
function* count(x: Tensor, times: number, after: () => void = () => {}): Parts<Tensor> {
  let at = x;
  for (let i = 0; i < times; i++) {
    at = yield* scopeParts(function* () {
      const two = at.add(2);
      yield;
      return two.sub(1);
    });
    after();
    yield;
  }
  return at;
}

/** Computes something for some milliseconds, without letting other events run. */
function work(milliseconds: number): void {
  const end = performance.now() + milliseconds;
  while (performance.now() < end);
}

describe("a computation in parts", () => {
  test("gives the same at once and in turns, and frees what it made on the way", async () => {
    await expectNoLeak(async () => {
      const x = tensor([1, 2]);
      const once = scope(() => finish(count(x, 5)));
      let parts = 0;
      const turns = await inTurns(x.backend, scopeParts(() => count(x, 5)), { onPart: () => parts++ });
      expect([await once.data(), await turns.data()]).toEqual([once, turns].map(() => Float32Array.of(6, 7)));
      expect(parts).toBe(10);
      for (const t of [x, once, turns]) t.dispose();
    });
    expect(finish(7)).toBe(7);
  });

  test("lets other events run, and stops when it is told to", async () => {
    await expectNoLeak(async () => {
      const x = tensor([1]), controller = new AbortController(), reason = new Error("enough");
      let steps = 0;
      const timer = setTimeout(() => controller.abort(reason), 150);
      const endless = count(x, Infinity, () => {
        steps++;
        work(20);
      });
      const running = inTurns(x.backend, scopeParts(() => endless), { signal: controller.signal });
      await expect(running).rejects.toThrow(reason);
      clearTimeout(timer);
      expect(steps).toBeGreaterThan(1);
      x.dispose();
    });
  });

  test("that fails frees what it made", async () => {
    await expectNoLeak(async () => {
      const x = tensor([1]);
      const failing = () => {
        throw new Error("broken");
      };
      expect(() => scope(() => finish(count(x, 3, failing)))).toThrow("broken");
      await expect(inTurns(x.backend, scopeParts(() => count(x, 3, failing)))).rejects.toThrow("broken");
      x.dispose();
    });
  });

  test("does not mix its tensors with those of others that run in between", async () => {
    await expectNoLeak(async () => {
      const x = tensor([0]), backend = currentBackend();
      const slow = (times: number) => inTurns(backend, scopeParts(() => count(x, times, () => work(30))));
      const [a, b] = await Promise.all([slow(5), slow(7)]);
      const live = memory().liveTensors;
      expect([await a.item(), await b.item(), memory().liveTensors]).toEqual([5, 7, live]);
      for (const t of [x, a, b]) t.dispose();
    });
  });
});
