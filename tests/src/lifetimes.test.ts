// What is freed, and when: long graphs, and the intermediate values of functions that nothing records.
import { expect } from "bun:test";
import * as t from "../../src/index.ts";
import { describeDevices } from "../support/devices.ts";
import { scoped } from "../support/tensors.ts";

describeDevices("a long graph without backward", () => {
  const long = (x: t.Tensor) => {
    let y = x;
    for (let i = 0; i < 50_000; i++) y = y.mul(y);
    return y;
  };

  scoped("is freed by dispose", async () => {
    const x = t.tensor([1], [1], { requiresGrad: true });
    const before = t.memory().liveBytes;
    const y = t.scope(() => long(x));
    expect(await y.item()).toBe(1);
    y.dispose();
    expect(t.memory().liveBytes).toBe(before);
  });

  scoped("is freed by a scope", async () => {
    const x = t.tensor([1], [1], { requiresGrad: true });
    const before = t.memory().liveBytes;
    t.scope(() => void long(x));
    expect(t.memory().liveBytes).toBe(before);
    expect(await x.item()).toBe(1);
  });
});

describeDevices("checkpoint", () => {
  for (const [name, run] of [["alone", (f: () => t.Tensor) => f()], ["inside noGrad", t.noGrad]] as const) {
    scoped(`frees what is inside, ${name}`, async () => {
      const x = t.tensor([1, 2]);
      const before = t.memory().liveTensors;
      const y = run(() => t.checkpoint((x) => x.mul(2).add(1).square(), x));
      expect(t.memory().liveTensors).toBe(before + 1);
      expect(Array.from(await y.floats())).toEqual([9, 25]);
    });
  }

  scoped("may return its own argument inside noGrad", async () => {
    const x = t.tensor([1, 2]);
    t.noGrad(() => t.checkpoint((x) => x, x)).dispose();
    expect(Array.from(await x.floats())).toEqual([1, 2]);
  });
});
