// Sums and means over every combination of axes, of lengths around the size of a vector, and of a million numbers.
import { expect } from "bun:test";
import * as t from "../../../src/index.ts";
import { describeDevices } from "../../support/devices.ts";
import { draws } from "../../support/numbers.ts";
import { counting, list, scoped } from "../../support/tensors.ts";

describeDevices("reductions", () => {
  // lengths just below and above a vector, the unrolled loop, and a tile
  for (const n of [1, 2, 3, 4, 5, 7, 15, 16, 17, 31, 33, 63, 65, 127, 1000, 4097, 100_001]) {
    scoped(`sum, mean and softmax of ${n}`, async () => {
      const values = draws(`reduce/${n}`, n);
      const x = t.tensor(values, [n]);
      const exact = values.reduce((a, b) => a + b, 0);
      const scale = values.reduce((a, b) => a + Math.abs(b), 0);
      // adding in 16 lanes and in blocks loses far fewer digits than adding one by one
      expect(Math.abs(await x.sum().item() - exact) / scale).toBeLessThan(1e-6);
      expect(Math.abs(await x.mean().item() - exact / n) * n / scale).toBeLessThan(1e-6);
      const total = (await t.softmax(x).floats()).reduce((a, b) => a + b, 0);
      expect(Math.abs(total - 1)).toBeLessThan(2e-6);
    });
  }

  for (
    const [shape, axes, wanted] of [[[0, 3], 0, 3], [[3, 0], 1, 3], [[2, 0, 3], [1], 6], [
      [0],
      [0],
      1,
    ]] as const
  ) {
    scoped(`sum and mean of [${shape}] over [${axes}], where there is nothing to add up`, async () => {
      const x = t.zeros(shape);
      t.full([8], 7).dispose(); // so that the memory that comes next holds other numbers
      expect(await list(x.sum(axes))).toEqual(new Array(wanted).fill(0));
      expect(await list(x.mean(axes))).toEqual(new Array(wanted).fill(NaN)); // as in numpy
    });
  }

  scoped("the gradient of a value that was broadcast to an empty shape is 0", async () => {
    const x = t.tensor([1, 2, 3], [3], { requiresGrad: true });
    t.backward(t.zeros([0, 3]).add(x).sum());
    expect(await list(x.grad!)).toEqual([0, 0, 0]);
    x.grad!.dispose();
  });

  scoped("the gradients of a convolution of an empty batch are 0", async () => {
    const bias = t.tensor([1, 2, 3], [3], { requiresGrad: true });
    const weight = t.tensor([1, 2, 3, 4, 5, 6], [3, 2, 1, 1], { requiresGrad: true });
    t.backward(t.conv2d(t.zeros([0, 4, 4, 2]), weight, bias).sum());
    expect(await list(bias.grad!)).toEqual([0, 0, 0]);
    expect(await list(weight.grad!)).toEqual([0, 0, 0, 0, 0, 0]);
    for (const leaf of [weight, bias]) leaf.grad!.dispose();
  });

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
    // Added one by one, a million times 0.1 is wrong by a hundredth. In blocks the error does not grow with the length.
    const n = 1_000_001, wanted = n * Math.fround(0.1);
    const sum = await t.full([n], 0.1).sum().item();
    expect(Math.abs(sum / wanted - 1)).toBeLessThan(2e-5);
    for (const column of await t.full([n, 3], 0.1).sum(0).floats()) {
      expect(Math.abs(column / wanted - 1)).toBeLessThan(2e-5);
    }
  });
});
