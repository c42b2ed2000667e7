// Scopes and noGrad that overlap in time. In runtimes with AsyncLocalStorage, each chain of calls and awaits has its own. In
// web pages, which do not have it, scopes that overlap throw.
import { afterEach, describe, expect, test } from "bun:test";
import * as t from "../../src/index.ts";
import { withBackend } from "../../src/device.ts";
import { makeStore, useStore } from "../../src/scope.ts";
import { expectNoLeak } from "../support/expectations.ts";

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
const one = () => t.tensor([1], [1]);

describe("overlapping asyncScopes", () => {
  test("each keeps its own tensors", () =>
    expectNoLeak(async () => {
      const results = await Promise.all([
        t.asyncScope(async () => {
          await sleep(5);
          const x = one();
          await sleep(25);
          return await x.add(1).item();
        }),
        t.asyncScope(async () => {
          await sleep(10);
          one();
        }),
      ]);
      expect(results[0]).toBe(2);
    }));

  test("many requests at once, which await inside their scopes", () =>
    expectNoLeak(async () => {
      const request = (n: number) =>
        t.asyncScope(async () => {
          const x = t.full([8], n);
          await sleep(n % 7);
          const y = x.mul(2);
          await sleep((n * 3) % 5);
          return await y.add(x).mean().item();
        });
      const answers = await Promise.all(Array.from({ length: 60 }, (_, n) => request(n)));
      expect(answers).toEqual(Array.from({ length: 60 }, (_, n) => 3 * n));
    }));

  test("a result passes to the scope around its own, not to another one that is open", () =>
    expectNoLeak(async () => {
      const other = t.asyncScope(async () => await sleep(20));
      const x = await t.asyncScope(async () => {
        await sleep(2);
        return one();
      });
      await other;
      expect(await x.item()).toBe(1);
      x.dispose();
    }));

  test("a tensor made outside of any scope has no owner", async () => {
    const other = t.asyncScope(async () => await sleep(5));
    const x = one();
    await other;
    expect(await x.item()).toBe(1);
    x.dispose();
  });

  test("nested ones and synchronous ones inside", () =>
    expectNoLeak(async () => {
      const sum = await t.asyncScope(async () => {
        const x = await t.asyncScope(async () => {
          await sleep(1);
          return t.scope(() => one().add(1).add(1));
        });
        await sleep(1);
        return await x.add(1).item();
      });
      expect(sum).toBe(4);
    }));

  test("an error frees what was made", () =>
    expectNoLeak(async () => {
      await expect(t.asyncScope(async () => {
        one();
        await sleep(1);
        one();
        throw new Error("the job failed");
      })).rejects.toThrow("the job failed");
    }));

  test("a tensor made after its scope has ended throws and takes no memory", () =>
    expectNoLeak(async () => {
      let late: Promise<unknown> = Promise.resolve();
      const x = one();
      await t.asyncScope(() => {
        const attempt = async (make: () => unknown) => {
          await sleep(5);
          return make();
        };
        late = Promise.allSettled([
          attempt(() => t.zeros([1000])),
          attempt(() => x.add(1)),
          attempt(() => x.reshape(1, 1)),
          attempt(() => t.scope(() => x.add(1))),
          attempt(() => t.asyncScope(async () => await x.add(1).item())),
        ]);
        return Promise.resolve();
      });
      for (const outcome of await late as PromiseSettledResult<unknown>[]) {
        expect(outcome.status).toBe("rejected");
        expect(String((outcome as PromiseRejectedResult).reason)).toContain(
          "after the scope around it had ended",
        );
      }
      expect(x.storage.shared).toBe(false);
      x.dispose();
    }));
});

describe("functions of the wrong kind", () => {
  test("scope refuses an asynchronous function and frees what it made", () =>
    expectNoLeak(async () => {
      const asynchronous = async () => {
        one();
        await sleep(1);
      };
      expect(() => t.scope(asynchronous)).toThrow(TypeError);
      expect(() => t.scope(asynchronous)).toThrow("use `await asyncScope(");
      await sleep(5);
    }));

  test("scope, asyncScope and noGrad refuse a generator, which would run after they have ended", () =>
    expectNoLeak(async () => {
      const generator = function* () {
        yield one();
      };
      const ahead = async function* () {
        yield await Promise.resolve(one());
      };
      const message =
        "the function returns a generator, which runs only later: return a list of what it yields";
      for (const fn of [generator, ahead]) {
        expect(() => t.scope<unknown>(fn)).toThrow(`scope: ${message}`);
        expect(() => t.noGrad<unknown>(fn)).toThrow(`noGrad: ${message}`);
        await expect(t.asyncScope<unknown>(() => Promise.resolve(fn()))).rejects.toThrow(
          `asyncScope: ${message}`,
        );
      }
    }));

  test("what is no function is refused", async () => {
    const five = 5 as unknown as () => Promise<number>;
    expect(() => t.scope(five)).toThrow("scope: fn is 5, expected a function");
    expect(() => t.noGrad(five)).toThrow("noGrad: fn is 5, expected a function");
    await expect(t.asyncScope(five)).rejects.toThrow("asyncScope: fn is 5, expected a function");
  });

  test("asyncScope takes a synchronous one", () =>
    expectNoLeak(async () => {
      const sum = t.asyncScope((() => 3) as unknown as () => Promise<number>);
      expect(await sum).toBe(3);
    }));
});

describe("keep", () => {
  test("takes one tensor, and refuses a list or a map, whose tensors it would not keep", () =>
    expectNoLeak(async () => {
      const x = one();
      t.scope(() => t.keep(x));
      expect(await x.item()).toBe(1);
      x.dispose();
      const other = one();
      for (const wrong of [[other], new Map([["a", other]]), undefined, 5]) {
        expect(() => t.scope(() => t.keep(wrong as unknown as t.Tensor))).toThrow(
          "; keep each tensor of a list or a map by itself",
        );
      }
      other.dispose();
    }));
});

describe("noGrad", () => {
  test("holds across awaits", () =>
    expectNoLeak(async () => {
      const w = t.tensor([2], [1], { requiresGrad: true });
      const y = await t.noGrad(async () => {
        await sleep(1);
        return w.mul(3);
      });
      expect(y.node).toBeNull();
      expect(t.isGradEnabled()).toBe(true);
      for (const x of [w, y]) x.dispose();
    }));

  test("does not affect a flow that runs at the same time", () =>
    expectNoLeak(async () => {
      const w = t.tensor([2], [1], { requiresGrad: true });
      const off = t.noGrad(async () => {
        await sleep(10);
        expect(t.isGradEnabled()).toBe(false);
      });
      await sleep(2);
      const y = w.mul(3);
      expect(y.node).not.toBeNull();
      await off;
      for (const x of [y, w]) x.dispose();
    }));
});

test("withBackend holds across awaits, and only in its flow", async () => {
  const before = t.currentBackend();
  const other = Object.create(before) as t.Backend;
  const inside = withBackend(other, async () => {
    await sleep(5);
    return t.currentBackend() === other;
  });
  expect(t.currentBackend()).toBe(before);
  expect(await inside).toBe(true);
  expect(t.currentBackend()).toBe(before);
});

describe("without AsyncLocalStorage, as in a page", () => {
  let native: ReturnType<typeof makeStore> | null = null;
  const likeAPage = () => void (native = useStore(makeStore(true)));
  afterEach(() => {
    if (native) useStore(native);
    native = null;
  });

  test("one job after another works as elsewhere", () =>
    expectNoLeak(async () => {
      likeAPage();
      for (let i = 0; i < 3; i++) {
        const value = await t.asyncScope(async () => {
          const x = await t.asyncScope(async () => {
            await sleep(1);
            return one().add(i);
          });
          return await t.noGrad(async () => await x.mul(2).item());
        });
        expect(value).toBe(2 + 2 * i);
      }
    }));

  test("scopes that overlap throw, and leave nothing behind", () =>
    expectNoLeak(async () => {
      likeAPage();
      const outcomes = await Promise.allSettled([
        t.asyncScope(async () => {
          await sleep(5);
          one();
        }),
        t.asyncScope(async () => {
          await sleep(15);
          one();
        }),
      ]);
      const reasons = outcomes.filter((o) => o.status === "rejected").map((o) => String(o.reason));
      expect(reasons.length).toBeGreaterThan(0);
      expect(reasons[0]).toContain("two asyncScopes overlapped");
    }));

  test("using a tensor that an overlapping scope freed names overlapping as a cause", async () => {
    likeAPage();
    const long = t.asyncScope(async () => {
      await sleep(5);
      const x = one(); // the short scope is the innermost one now, and becomes its owner
      await sleep(15);
      return await x.add(1).item();
    });
    const short = t.asyncScope(async () => await sleep(10));
    await short;
    await expect(long).rejects.toThrow("two asyncScopes overlapped");
  });
});
