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
