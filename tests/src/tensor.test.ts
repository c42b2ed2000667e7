// Views, which share memory, and scopes, which free it. Gradients are tested in autograd.test.ts.
import { describe, expect, test } from "bun:test";
import { CountingBackend } from "../../src/backends/counting.ts";
import { withBackend } from "../../src/device.ts";
import * as t from "../../src/index.ts";
import { describeDevices } from "../support/devices.ts";
import { counting, list, scoped } from "../support/tensors.ts";

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

  scoped("assign reads a view of the same tensor before it overwrites it", async () => {
    const x = counting([2, 2]);
    x.assign(x.permute(1, 0));
    expect(await list(x)).toEqual([0, 2, 1, 3]);
  });

  scoped("a freed tensor has no views", async () => {
    const x = counting([2, 2]);
    await x.data();
    x.dispose();
    const views = [
      () => x.detach(),
      () => x.reshape(4),
      () => x.permute(1, 0),
      () => x.slice([0], [1]),
      () => x.expand([3, 2, 2]),
    ];
    for (const view of views) expect(view).toThrow("tensor of shape [2,2] was already freed");
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
    x.dispose(); // a second call does nothing
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

  scoped("no values if they cannot be read at once", async () => {
    await withBackend(new CountingBackend(), () => {
      expect(`${t.zeros([2])}`).toBe("Tensor [2] f32 on counting");
    });
  });
});
