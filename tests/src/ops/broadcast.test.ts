// Operands of different shapes, by numpy's rules.
import { expect } from "bun:test";
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
