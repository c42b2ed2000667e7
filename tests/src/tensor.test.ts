// Tensors, views, reductions, ownership of memory, and random numbers. Gradients are in autograd.test.ts.
import { describe, expect, test } from "bun:test";
import { CountingBackend } from "../../src/backends/counting.ts";
import { withBackend } from "../../src/device.ts";
import * as t from "../../src/index.ts";
import { draws } from "../support/fill.ts";
import { describeDevices, expectNoLeak } from "../support/helpers.ts";

/** Runs a test body in a scope of its own and expects nothing to be left behind. */
function scoped(name: string, fn: () => Promise<void>): void {
  test(name, () => expectNoLeak(() => t.asyncScope(fn)));
}

/** Numbers 0, 1, 2 ... in a shape. */
function counting(shape: number[]): t.Tensor {
  return t.tensor(Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => i), shape);
}

async function list(x: t.Tensor): Promise<number[]> {
  return Array.from(await x.data());
}

describeDevices("broadcasting", () => {
  /** What numpy answers: the value at every index of the common shape, sizes of 1 repeated. */
  function wanted(a: number[], b: number[]): { shape: number[]; values: number[] } {
    const n = Math.max(a.length, b.length);
    const [pa, pb] = [a, b].map((s) => [...new Array<number>(n - s.length).fill(1), ...s]);
    const shape = pa.map((size, i) => Math.max(size, pb[i]));
    const at = (own: number[], index: number[]) =>
      own.reduce((offset, size, d) => offset * size + (size === 1 ? 0 : index[d]), 0);
    const values: number[] = [];
    for (let i = 0; i < shape.reduce((x, y) => x * y, 1); i++) {
      const index: number[] = [];
      for (let d = n - 1, rest = i; d >= 0; d--) {
        index[d] = rest % shape[d];
        rest = Math.floor(rest / shape[d]);
      }
      values.push(at(pa, index) + 1000 * at(pb, index));
    }
    return { shape, values };
  }

  const pairs: [number[], number[]][] = [
    [[], [3]],
    [[5], [5]],
    [[4, 1], [1, 5]],
    [[2, 3, 5], [5]],
    [[2, 3, 5], [3, 1]],
    [[2, 3, 5], [2, 1, 1]],
    [[2, 1, 5], [1, 3, 1]],
    [[1, 7, 1, 3], [2, 1, 5, 1]],
    [[2, 3, 4, 5], [3, 1, 5]],
    [[1, 1], [6]],
  ];
  for (const [a, b] of pairs) {
    scoped(`[${a}] with [${b}]`, async () => {
      const x = counting(a), y = counting(b).mul(1000);
      const { shape, values } = wanted(a, b);
      const sum = x.add(y), reversed = y.add(x);
      expect(sum.shape).toEqual(shape);
      expect(await list(sum)).toEqual(values);
      expect(await list(reversed)).toEqual(values);
    });
  }

  scoped("an operand may be a view", async () => {
    const x = counting([2, 3]).permute(1, 0); // [[0, 3], [1, 4], [2, 5]]
    expect(await list(x.add(counting([2])))).toEqual([0, 4, 1, 5, 2, 6]);
    expect(await list(counting([3, 3]).slice([0, 1], [3, 2]).mul(x))).toEqual([0, 3, 4, 16, 14, 35]);
  });
});

describeDevices("views", () => {
  scoped("reshape, permute and slice share memory", async () => {
    const x = counting([2, 3, 4]);
    const before = t.memory().liveBytes;
    const y = x.permute(2, 0, 1).slice([1], [3]);
    expect(x.reshape(4, -1).shape).toEqual([4, 6]);
    expect(t.memory().liveBytes).toBe(before);
    expect(await list(y)).toEqual([1, 5, 9, 13, 17, 21, 2, 6, 10, 14, 18, 22]);
    x.write(Float32Array.of(100), 1);
    expect((await list(y))[0]).toBe(100);
  });

  scoped("a view keeps the memory of a base that was disposed", async () => {
    const x = counting([4]);
    const y = x.reshape(2, 2);
    x.dispose();
    expect(await list(y)).toEqual([0, 1, 2, 3]);
  });

  scoped("reshape of a view that is not in row-major order copies", async () => {
    const x = counting([2, 3]);
    const y = x.permute(1, 0).reshape(6);
    expect(await list(y)).toEqual([0, 3, 1, 4, 2, 5]);
    x.write(Float32Array.of(9));
    expect((await list(y))[0]).toBe(0);
  });

  scoped("expand repeats without copying, concat joins", async () => {
    const x = counting([3, 1]);
    const wide = x.expand([2, 3, 2]);
    expect(await list(wide)).toEqual([0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
    expect(await list(t.concat([x, counting([3, 2])], 1))).toEqual([0, 0, 1, 1, 2, 3, 2, 4, 5]);
    expect(await list(t.concat([x.reshape(3), counting([2])], 0))).toEqual([0, 1, 2, 0, 1]);
  });

  scoped("integers keep their type through views", async () => {
    const x = t.tensor(Int32Array.of(1, 2, 3, 2 ** 30 + 1), [2, 2]);
    const column = x.permute(1, 0).slice([1], [2]);
    expect(await column.ints()).toEqual(Int32Array.of(2, 2 ** 30 + 1));
  });

  scoped("assign copies a view's values in its order", async () => {
    const x = t.zeros([3, 2]);
    x.assign(counting([2, 3]).permute(1, 0));
    expect(await list(x)).toEqual([0, 3, 1, 4, 2, 5]);
  });
});

describeDevices("reductions", () => {
  // on both sides of a vector, of the unrolled loop and of a thread's share
  for (const n of [1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 63, 65, 127, 1000, 4097, 100_001]) {
    scoped(`sum, mean and softmax of ${n}`, async () => {
      const values = Float32Array.from(draws(`reduce/${n}`, n));
      const x = t.tensor(values, [n]);
      const exact = values.reduce((a, b) => a + b, 0);
      const scale = values.reduce((a, b) => a + Math.abs(b), 0);
      // adding in 16 lanes and by blocks loses far less than adding one by one
      expect(Math.abs(await x.sum().item() - exact) / scale).toBeLessThan(1e-6);
      expect(Math.abs(await x.mean().item() - exact / n) * n / scale).toBeLessThan(1e-6);
      const total = (await t.softmax(x).floats()).reduce((a, b) => a + b, 0);
      expect(Math.abs(total - 1)).toBeLessThan(2e-6);
    });
  }

  for (const shape of [[3, 5, 7], [2, 1, 9], [1, 1, 1], [33, 2, 17]]) {
    for (const axes of [[0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2], [-1]]) {
      scoped(`sum of [${shape}] over [${axes}]`, async () => {
        const x = counting(shape);
        const over = axes.map((a) => (a + 3) % 3);
        const kept = shape.map((n, i) => (over.includes(i) ? 1 : n));
        const wanted = new Array<number>(kept.reduce((a, b) => a * b, 1)).fill(0);
        for (let i = 0; i < x.size; i++) {
          const index = [
            Math.floor(i / (shape[1] * shape[2])),
            Math.floor(i / shape[2]) % shape[1],
            i % shape[2],
          ];
          const at = kept.reduce((offset, size, d) => offset * size + (size === 1 ? 0 : index[d]), 0);
          wanted[at] += i;
        }
        const sum = x.sum(axes), keptSum = x.sum(axes, true);
        expect(sum.shape).toEqual(shape.filter((_, i) => !over.includes(i)));
        expect(keptSum.shape).toEqual(kept);
        expect(await list(sum)).toEqual(wanted);
        expect(await list(keptSum)).toEqual(wanted);
      });
    }
  }

  scoped("a long sum does not drift", async () => {
    // One by one, a million times 0.1 is wrong by a hundredth; in blocks the error does not grow with the length.
    const n = 1_000_001, wanted = n * Math.fround(0.1);
    const sum = await t.full([n], 0.1).sum().item();
    expect(Math.abs(sum / wanted - 1)).toBeLessThan(2e-5);
    for (const column of await t.full([n, 3], 0.1).sum(0).floats()) {
      expect(Math.abs(column / wanted - 1)).toBeLessThan(2e-5);
    }
  });
});

describe("ownership", () => {
  test("a scope frees what it does not return", async () => {
    const before = t.memory();
    const { kept, nested } = t.scope(() => {
      const x = t.ones([100]);
      x.mul(2).add(1);
      return { kept: x.mul(3), nested: [new Map([["y", x.neg()]])] };
    });
    const after = t.memory();
    expect(after.liveTensors - before.liveTensors).toBe(2);
    expect(after.liveBytes - before.liveBytes).toBe(800);
    expect((await kept.floats())[99]).toBe(3);
    expect((await nested[0].get("y")!.floats())[0]).toBe(-1);
    kept.dispose();
    nested[0].get("y")!.dispose();
    expect(t.memory().liveBytes).toBe(before.liveBytes);
  });

  scoped("scopes nest: a result passes outwards", async () => {
    const x = t.scope(() => t.scope(() => t.scope(() => t.full([2], 7)).add(1)).add(1));
    expect(await list(x)).toEqual([9, 9]);
  });

  scoped("a scope that throws frees everything", async () => {
    const before = t.memory().liveTensors;
    expect(() =>
      t.scope(() => {
        t.ones([3]);
        throw new Error("no");
      })
    ).toThrow("no");
    await expect(t.asyncScope(() => {
      t.ones([3]);
      return Promise.reject(new Error("no"));
    })).rejects.toThrow("no");
    expect(t.memory().liveTensors).toBe(before);
  });

  test("keep takes a tensor out of its scope", async () => {
    const before = t.memory();
    const x = t.scope(() => {
      const x = t.keep(t.full([3], 5));
      x.mul(2);
      return { length: x.size, x: () => x };
    }).x();
    expect(t.memory().liveTensors - before.liveTensors).toBe(1);
    expect(await list(x)).toEqual([5, 5, 5]);
    x.dispose();
    x.dispose(); // harmless
    expect(t.memory().liveTensors).toBe(before.liveTensors);
    expect(t.memory().liveBytes).toBe(before.liveBytes);
  });

  test("peakBytes is the highest so far, reservedBytes what the device holds", () => {
    const before = t.memory().liveBytes, bytes = 8 * 2 ** 20;
    t.zeros([bytes / 4]).dispose();
    const { liveBytes, peakBytes, reservedBytes } = t.memory();
    expect(liveBytes).toBe(before);
    expect(peakBytes).toBeGreaterThanOrEqual(before + bytes);
    expect(reservedBytes).toBeGreaterThanOrEqual(bytes);
  });

  test("freed memory is used again", () => {
    t.scope(() => void t.zeros([2 ** 20]));
    const { reservedBytes } = t.memory();
    for (let i = 0; i < 50; i++) t.scope(() => void t.zeros([2 ** 20]).add(1).mul(2).sum());
    expect(t.memory().reservedBytes - reservedBytes).toBeLessThan(16 * 2 ** 20);
  });
});

describe("random numbers", () => {
  scoped("the same seed gives the same numbers, another seed others", async () => {
    const draw = (seed: number) => list(new t.Random(seed).normal([50]));
    expect(await draw(23)).toEqual(await draw(23));
    expect(await draw(23)).not.toEqual(await draw(24));
    // a seed's upper half counts as well
    expect(await draw(2 ** 40)).not.toEqual(await draw(0));
  });

  test("Philox 4x32-10 as published", () => {
    // Known answers of Random123 for key 0: counter 0.
    const random = new t.Random(0);
    const words = [0, 1, 2, 3].map(() => random.bits().toString(16));
    expect(words).toEqual(["6627e8d5", "e169c58d", "bc57ac4c", "9b00dbd8"]);
  });

  for (const used of [0, 1, 2, 3, 4, 5, 1001]) {
    test(`a state saved after ${used} numbers resumes the stream`, () => {
      const random = new t.Random(7);
      for (let i = 0; i < used; i++) random.bits();
      const resumed = t.Random.from(JSON.parse(JSON.stringify(random.state())));
      for (let i = 0; i < 9; i++) expect(resumed.bits()).toBe(random.bits());
      expect(resumed.state()).toEqual(random.state());
    });
  }

  test("a fork has its own stream and does not move this one", () => {
    const random = new t.Random(5), untouched = new t.Random(5);
    const a = random.fork("a"), again = random.fork("a"), b = random.fork("b");
    expect(random.bits()).toBe(untouched.bits());
    const first = a.next();
    expect(again.next()).toBe(first);
    expect(b.next()).not.toBe(first);
  });

  scoped("uniform and normal have the moments they should", async () => {
    const n = 20_000, random = new t.Random(11);
    const mean = (v: Float32Array) => v.reduce((a, b) => a + b, 0) / n;
    const uniform = await random.uniform([n], -1, 3).floats();
    expect(Math.min(...uniform)).toBeGreaterThanOrEqual(-1);
    expect(Math.max(...uniform)).toBeLessThan(3);
    // four standard errors: 4 / sqrt(12) / sqrt(n)
    expect(Math.abs(mean(uniform) - 1)).toBeLessThan(4 * 1.1547 / Math.sqrt(n));
    const counts = new Array<number>(10).fill(0);
    for (const u of uniform) counts[Math.floor((u + 1) / 0.4)]++;
    const chiSquare = counts.reduce((sum, c) => sum + (c - n / 10) ** 2 / (n / 10), 0);
    expect(chiSquare).toBeLessThan(27.9); // 9 degrees of freedom, one in a thousand

    const normal = await random.normal([n], 2, 0.5).floats();
    expect(Math.abs(mean(normal) - 2)).toBeLessThan(4 * 0.5 / Math.sqrt(n));
    expect(Math.abs(mean(normal.map((x) => (x - 2) ** 2)) / 0.25 - 1)).toBeLessThan(4 * Math.sqrt(2 / n));
    expect(Math.abs(mean(normal.map((x) => ((x - 2) / 0.5) ** 4)) / 3 - 1)).toBeLessThan(0.1);
    const within = normal.filter((x) => Math.abs(x - 2) < 0.5).length / n;
    expect(Math.abs(within - 0.6827)).toBeLessThan(0.014);
  });

  test("shuffle is a permutation, every order as likely", () => {
    const random = new t.Random(3);
    expect([...random.shuffle(1000)].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 1000 }, (_, i) => i),
    );
    const seen = new Map<string, number>();
    for (let i = 0; i < 6000; i++) {
      const order = random.shuffle(3).join();
      seen.set(order, (seen.get(order) ?? 0) + 1);
    }
    expect(seen.size).toBe(6);
    for (const count of seen.values()) expect(Math.abs(count - 1000)).toBeLessThan(120); // four deviations
  });
});

scoped("exp, log and softplus at their ends", async () => {
  const x = t.tensor([-Infinity, -100, -20, 0, 100, Infinity, NaN], [7]);
  const found = await Promise.all([x.exp(), x.log(), x.softplus()].map((y) => y.floats()));
  const log1p = (e: number) => Math.fround(Math.log1p(e));
  expect([...found[0]]).toEqual([0, 0, expect.closeTo(Math.exp(-20), 14), 1, Infinity, Infinity, NaN]);
  expect([...found[1]]).toEqual([NaN, NaN, NaN, -Infinity, expect.closeTo(Math.log(100), 5), Infinity, NaN]);
  expect(found[2][0]).toBeLessThan(1.3e-38); // e^-87.3, where exp within it ends
  expect(found[2][1]).toBeLessThan(1.3e-38);
  for (const [i, value] of [[2, log1p(Math.exp(-20))], [3, log1p(1)], [4, 100], [5, Infinity]]) {
    if (Number.isFinite(value)) expect(Math.abs(found[2][i] / value - 1)).toBeLessThan(3e-7);
    else expect(found[2][i]).toBe(value);
  }
  expect(found[2][6]).toBeNaN();
});

describe("what the console shows", () => {
  const inspectors = [Symbol.for("Deno.customInspect"), Symbol.for("nodejs.util.inspect.custom")] as const;

  scoped("shape, dtype, device and the first values", async () => {
    const x = counting([2, 5]);
    expect(`${x}`).toBe("Tensor [2,5] f32 on cpu: 0, 1, 2, 3, 4, 5, 6, 7, ...");
    for (const inspector of inspectors) {
      expect((x as unknown as Record<symbol, () => string>)[inspector]()).toBe(`${x}`);
    }
    expect(`${x.permute(1, 0).slice([1], [3])}`).toBe("Tensor [2,2] f32 on cpu: 1, 6, 2, 7");
    expect(`${t.tensor(Int32Array.of(-7), [1, 1])}`).toBe("Tensor [1,1] i32 on cpu: -7");
    expect(`${t.full([], 1 / 3)} ${t.zeros([0, 3])}`).toBe(
      "Tensor [] f32 on cpu: 0.33333 Tensor [0,3] f32 on cpu: ",
    );
    x.dispose();
    expect(`${x}`).toBe("Tensor [2,5] f32 on cpu, freed");
    await Promise.resolve();
  });

  scoped("no values where they cannot be had at once", async () => {
    await withBackend(new CountingBackend(), () => {
      expect(`${t.zeros([2])}`).toBe("Tensor [2] f32 on counting");
    });
  });
});

test("using frees a tensor at the end of its block", async () => {
  const before = t.memory().liveTensors;
  {
    using x = t.tensor([1, 2]);
    expect(await list(x)).toEqual([1, 2]);
    expect(t.memory().liveTensors).toBe(before + 1);
  }
  expect(t.memory().liveTensors).toBe(before);
});
