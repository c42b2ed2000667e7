// What is freed, and when: long graphs, and the intermediate values of functions that nothing records.
import { expect, test } from "bun:test";
import * as t from "../../src/index.ts";
import { describeDevices } from "../support/devices.ts";
import { counting, scoped } from "../support/tensors.ts";

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

describeDevices("an operation outside scopes leaves only its result", () => {
  const x = () => counting([2, 3, 4, 4]), turned = (x: t.Tensor) => x.permute(0, 3, 2, 1);
  const ops: [string, (x: t.Tensor) => t.Tensor][] = [
    ["a sum that keeps its axes", (x) => x.sum([1], true)],
    ["a mean", (x) => x.mean(-1)],
    ["a maximum with a number", (x) => x.maximum(0.5)],
    ["a comparison with a number", (x) => t.greater(x, 1)],
    ["a clamp", (x) => x.clamp(1, 2)],
    ["a softmax", (x) => t.softmax(x)],
    ["a group norm", (x) => t.groupNorm(x, norm[0], norm[1], { groups: 2 })],
    ["a convolution", (x) => t.conv2d(x, filter, null, { padding: 1 })],
    ["a pooling", (x) => t.maxPool2d(x, { size: 2, stride: 2 })],
    ["an average pooling", (x) => t.avgPool2d(x, { size: 2, stride: 2 })],
    ["an LPIPS distance", (x) => t.lpipsDistance(x, x, norm[0])],
    ["a sum of shapes that both stretch", (x) => t.add(x, row)],
  ];
  let norm: t.Tensor[] = [], filter: t.Tensor, row: t.Tensor;
  for (const [name, op] of ops) {
    test(name, () => {
      t.scope(() => {
        [norm, filter, row] = [[t.ones([4]), t.zeros([4])], t.ones([2, 4, 3, 3]), t.ones([2, 1, 4, 1])];
        const plain = x(), strided = turned(counting([2, 4, 4, 3]));
        for (const requiresGrad of [false, true]) {
          for (const input of [plain, strided]) {
            input.requiresGrad = requiresGrad;
            const before = t.memory().liveTensors;
            op(input);
            expect(t.memory().liveTensors - before).toBe(1);
          }
        }
      });
    });
  }

  scoped("an embedding", async () => {
    const indices = t.tensor(Int32Array.of(0, 1, 2, 3), [2, 2]).permute(1, 0), table = counting([4, 2]);
    const before = t.memory().liveTensors;
    const out = t.embedding(indices, table);
    expect(t.memory().liveTensors - before).toBe(1);
    expect(Array.from(await out.floats())).toEqual([0, 1, 4, 5, 2, 3, 6, 7]);
  });
});
