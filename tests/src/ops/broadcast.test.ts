// Operands of different shapes, by numpy's rules.
import { expect } from "bun:test";
import * as t from "../../../src/index.ts";
import { describeDevices } from "../../support/devices.ts";
import { counting, list, scoped } from "../../support/tensors.ts";

describeDevices("broadcasting", () => {
  /** What numpy returns: the value at every index of the common shape, with sizes of 1 repeated. */
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

describeDevices("operands with strides", () => {
  /** The numbers 1 to n, as the first column of a matrix: a list whose elements do not lie next to each other. */
  const column = (n: number) => {
    const pairs = Array.from({ length: 2 * n }, (_, i) => i % 2 === 0 ? i / 2 + 1 : -100);
    return t.tensor(pairs, [n, 2]).slice([0, 0], [n, 1]).reshape(n, 1).permute(1, 0).slice([0], [1]);
  };
  const image = () => counting([1, 2, 2, 4]);
  const ops: [string, (x: t.Tensor) => t.Tensor][] = [
    ["the bias of conv2d", (x) => t.conv2d(image(), counting([4, 4, 1, 1]), x)],
    ["the weight of groupNorm", (x) => t.groupNorm(image(), x, t.zeros([4]), { groups: 2 })],
    ["the bias of groupNorm", (x) => t.groupNorm(image(), t.ones([4]), x, { groups: 2, swish: true })],
    ["the weight of batchNorm", (x) => t.batchNorm(image(), x, t.zeros([4])).out],
    ["the weight of lpipsDistance", (x) => t.lpipsDistance(image(), t.ones([1, 2, 2, 4]), x)],
    ["softmax", (x) => t.softmax(x)],
    ["the table of an embedding", (x) => t.embedding(t.tensor(Int32Array.of(0)), x.reshape(1, 4))],
  ];
  for (const [name, op] of ops) {
    scoped(name, async () => {
      const strided = column(4), plain = t.tensor([1, 2, 3, 4]);
      expect(await list(op(strided))).toEqual(await list(op(plain)));
      const grads = [strided.detach(), plain].map((x) => {
        x.requiresGrad = true;
        const loss = op(x).square().sum();
        if (loss.node) t.backward(loss);
        const { grad } = x;
        x.grad = null;
        return grad;
      });
      if (grads[1]) expect(await list(grads[0]!)).toEqual(await list(grads[1]));
      for (const grad of grads) grad?.dispose();
    });
  }

  scoped("a number that is repeated", async () => {
    const out = t.conv2d(t.zeros([1, 1, 1, 2]), t.zeros([3, 2, 1, 1]), t.tensor([7]).expand([3]));
    expect(await list(out)).toEqual([7, 7, 7]);
  });

  scoped("a kernel without strides refuses them", async () => {
    const x = counting([2, 3]).permute(1, 0);
    expect(() => x.slot).toThrow("shape [3,2] with strides [1,3]");
    expect(await list(x)).toEqual([0, 3, 1, 4, 2, 5]);
  });
});

describeDevices("empty batches", () => {
  const image = () => t.zeros([0, 3, 3, 4]);
  const noTokens = () => t.tensor(new Int32Array(0));
  const ops: [string, () => t.Tensor, number[]][] = [
    ["groupNorm", () => t.groupNorm(image(), t.ones([4]), t.zeros([4]), { groups: 2 }), [0, 3, 3, 4]],
    ["conv2d", () => t.conv2d(image(), t.ones([2, 4, 1, 1]), null), [0, 3, 3, 2]],
    ["softmax", () => t.softmax(image()), [0, 3, 3, 4]],
    ["lpipsDistance", () => t.lpipsDistance(image(), image(), t.ones([4])), [0]],
    ["swish", () => image().swish(), [0, 3, 3, 4]],
    ["embedding", () => t.embedding(noTokens(), t.ones([5, 4])), [0, 4]],
  ];
  for (const [name, op, shape] of ops) {
    scoped(name, async () => {
      const out = op();
      expect(out.shape).toEqual(shape);
      expect(await list(out)).toEqual([]);
      expect(await list(t.full([2], 3))).toEqual([3, 3]); // the device still works
    });
  }

  scoped("the gradients of groupNorm are 0", async () => {
    const [weight, bias] = [1, 2].map((value) => t.full([4], value));
    for (const leaf of [weight, bias]) leaf.requiresGrad = true;
    t.backward(t.groupNorm(image(), weight, bias, { groups: 2 }).sum());
    for (const { grad } of [weight, bias]) {
      expect(await list(grad!)).toEqual([0, 0, 0, 0]);
      grad!.dispose();
    }
  });
});
