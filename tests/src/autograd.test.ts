// The tape: what is recorded, how gradients add up, partial gradients, recomputation, and what is freed. The gradients of
// single operations are tested in gradcheck.test.ts and ops.test.ts.
import { beforeAll, expect, test } from "bun:test";
import * as t from "../../src/index.ts";
import { describeDevices } from "../support/devices.ts";
import { expectNoLeak } from "../support/expectations.ts";
import { drawn } from "../support/numbers.ts";

function scoped(name: string, fn: () => Promise<void>): void {
  test(name, () => expectNoLeak(() => t.asyncScope(fn)));
}

function leaf(values: number[], shape: number[] = [values.length]): t.Tensor {
  return t.tensor(values, shape, { requiresGrad: true });
}

/** Reads the gradient of a leaf, frees it and sets it to null. */
async function take(x: t.Tensor): Promise<number[] | null> {
  const g = x.grad;
  if (!g) return null;
  const values = Array.from(await g.floats());
  g.dispose();
  x.grad = null;
  return values;
}

async function list(x: t.Tensor): Promise<number[]> {
  return Array.from(await x.floats());
}

describeDevices("backward", () => {
  scoped("adds up over every use of a value", async () => {
    const x = leaf([2]);
    const y = x.mul(3);
    t.backward(y.mul(y).add(y).sum()); // (9 x^2 + 3 x)' = 18 x + 3
    expect(await take(x)).toEqual([39]);
  });

  scoped("adds to .grad until it is set to null", async () => {
    const x = leaf([1, 2, 3]);
    for (let i = 0; i < 3; i++) t.backward(x.square().sum());
    expect(await take(x)).toEqual([6, 12, 18]);
    t.backward(x.sum());
    expect(await take(x)).toEqual([1, 1, 1]);
  });

  scoped("a value may be broadcast against itself", async () => {
    const x = leaf([1, 2, 3]);
    t.backward(x.reshape(3, 1).mul(x).sum()); // (sum x)^2
    expect(await take(x)).toEqual([12, 12, 12]);
  });

  scoped("two leaves do not share one gradient's memory", async () => {
    const a = leaf([1, 2]), b = leaf([3, 4]);
    t.backward(a.add(b).square().sum());
    t.backward(a.mul(10).sum());
    expect(await take(a)).toEqual([18, 22]);
    expect(await take(b)).toEqual([8, 12]);
  });

  scoped("takes a gradient for each output, and does not change it", async () => {
    const x = leaf([2, 3]), g = t.tensor([10, 100]);
    t.backward([x.mul(2), x.square().sum()], [g, null]);
    expect(await take(x)).toEqual([24, 206]);
    expect(await list(g)).toEqual([10, 100]);
  });

  scoped("goes through views", async () => {
    const x = leaf([1, -2, 3, 4], [2, 2]);
    t.backward(x.permute(1, 0).relu().slice([0], [1]).sum());
    expect(await take(x)).toEqual([1, 0, 1, 0]);
  });

  scoped("a residual may be the input itself", async () => {
    const x = leaf([1, 2, 3, 4], [1, 2, 2, 1]), w = leaf([2], [1, 1, 1, 1]);
    t.backward(t.conv2d(x, w, null, { residual: x }).sum());
    expect(await take(x)).toEqual([3, 3, 3, 3]);
    expect(await take(w)).toEqual([10]);
  });

  scoped("computes nothing for inputs that need no gradient", async () => {
    const x = t.tensor([1, 2]), w = leaf([3, 4]);
    t.backward(x.mul(w).sum());
    expect(x.grad).toBe(null);
    expect(await take(w)).toEqual([1, 2]);
  });
});

describeDevices("noGrad and detach", () => {
  scoped("noGrad records nothing, and ends with its function, also after an error", async () => {
    const x = leaf([3]);
    const y = t.noGrad(() => x.square());
    expect(y.node).toBe(null);
    expect(t.isGradEnabled()).toBe(true);
    expect(() =>
      t.noGrad(() => {
        expect(t.isGradEnabled()).toBe(false);
        throw new Error("no");
      })
    ).toThrow("no");
    expect(t.isGradEnabled()).toBe(true);
    t.backward(x.mul(y).sum()); // y is a constant
    expect(await take(x)).toEqual([9]);
  });

  scoped("detach stops gradients and shares memory", async () => {
    const x = leaf([3]);
    const y = x.square();
    const { liveBytes } = t.memory();
    const still = y.detach();
    expect(t.memory().liveBytes).toBe(liveBytes);
    expect(still.requiresGrad).toBe(false);
    t.backward(still.mul(x).sum());
    expect(await take(x)).toEqual([9]);
  });

  scoped("straight through: the forward of one value with the gradient of another", async () => {
    const z = leaf([0.3, -1.2]), q = t.tensor([0, -1]);
    const out = z.add(q.sub(z).detach());
    expect((await list(out)).map((v) => Math.round(v * 1e6) / 1e6)).toEqual([0, -1]);
    t.backward(out.mul(t.tensor([5, 7])).sum());
    expect(await take(z)).toEqual([5, 7]);
  });
});

describeDevices("grad", () => {
  scoped("stops at intermediate values, changes no .grad, and walks only the path", async () => {
    const x = leaf([2]), w = leaf([5]);
    const h = x.square(); // 4
    const loss = h.mul(w).sum();
    const [gh, gx] = t.grad([loss], [h, x]);
    expect(await list(gh)).toEqual([5]);
    expect(await list(gx)).toEqual([20]);
    expect(x.grad).toBe(null);
    expect(w.grad).toBe(null);
  });

  scoped("with retainGraph the same tape is walked again", async () => {
    const x = leaf([1, 2]), last = leaf([3, 4]);
    const out = x.mul(x).mul(last);
    const norms: number[][] = [];
    for (const upstream of [[1, 1], [0, 2]]) {
      const [g] = t.grad([out], [last], { gradOutputs: [t.tensor(upstream)], retainGraph: true });
      norms.push(await list(g));
    }
    expect(norms).toEqual([[1, 4], [0, 8]]);
    t.backward(out, [t.ones([2])]);
    expect(await take(x)).toEqual([6, 16]);
    expect(await take(last)).toEqual([1, 4]);
  });

  scoped("a gradient carried on from an intermediate value equals that of the whole loss", async () => {
    const x = drawn("way/x", [1, 4, 4, 3]), w = drawn("way/w", [2, 3, 3, 3]);
    w.requiresGrad = true;
    const forward = () => t.conv2d(x, w, null, { padding: 1 });
    const loss = (y: t.Tensor) => y.square().mean().add(y.sigmoid().sum());
    t.backward(loss(forward()));
    const whole = await take(w);
    const out = forward(), cut = out.detach();
    cut.requiresGrad = true;
    const [upstream] = t.grad([loss(cut)], [cut]);
    const [g] = t.grad([out], [w], { gradOutputs: [upstream] });
    expect(await list(g)).toEqual(whole!);
  });
});

describeDevices("checkpoint", () => {
  const x = () => drawn("checkpoint/x", [1, 8, 8, 8]);
  let w1: t.Tensor, w2: t.Tensor;
  beforeAll(() => {
    [w1, w2] = ["w1", "w2"].map((name) => t.keep(drawn(`checkpoint/${name}`, [8, 8, 3, 3])));
    for (const w of [w1, w2]) w.requiresGrad = true;
  });
  const block = (x: t.Tensor) => {
    const h = t.conv2d(x, w1, null, { padding: 1 }).swish();
    return t.conv2d(h, w2, null, { padding: 1, residual: x });
  };

  async function gradients(run: (x: t.Tensor) => t.Tensor): Promise<(number[] | null)[]> {
    const input = x();
    input.requiresGrad = true;
    t.backward(run(input).square().sum());
    return [await take(input), await take(w1), await take(w2)];
  }

  scoped("gives the same bits as without checkpoints, also for parameters", async () => {
    const plain = await gradients(block);
    expect(plain.every((g) => g !== null)).toBe(true);
    expect(await gradients((x) => t.checkpoint(block, x))).toEqual(plain);
    const nested = await gradients((x) => t.checkpoint((y) => t.checkpoint(block, y), x));
    expect(nested).toEqual(plain);
  });

  scoped("works if only parameters inside need gradients", async () => {
    t.backward(t.checkpoint(block, x()).square().sum());
    expect(await take(w1)).not.toBe(null);
    expect(await take(w2)).not.toBe(null);
  });

  scoped(
    "grad through it leaves the parameters' .grad alone, also after a backward that failed",
    async () => {
      const input = x();
      input.requiresGrad = true;
      expect(() => t.backward(input)).toThrow("give its gradient");
      const [g] = t.grad([t.checkpoint(block, input).square().sum()], [input]);
      expect(w1.grad).toBe(null);
      t.backward(block(input).square().sum());
      expect(await take(input)).toEqual(await list(g));
      await take(w1);
      await take(w2);
    },
  );

  scoped("keeps only its inputs", () => {
    const stack = (wrap: boolean) => {
      const before = t.memory().liveBytes;
      return t.scope(() => {
        let y: t.Tensor = x();
        for (let i = 0; i < 4; i++) y = t.scope(() => wrap ? t.checkpoint(block, y) : block(y));
        const held = t.memory().liveBytes - before;
        y.dispose();
        return held / (8 * 8 * 8 * 4);
      });
    };
    // counted in pictures: the input and 4 outputs, and without checkpoints 2 more inner values per block
    expect(stack(true)).toBe(5);
    expect(stack(false)).toBe(13);
    return Promise.resolve();
  });
});

describeDevices("a training step", () => {
  test("leaves only parameters behind", async () => {
    await expectNoLeak(async () => {
      const w = leaf([1, 2, 3, 4], [2, 2]), m = t.zeros([2, 2]), v = t.zeros([2, 2]);
      const losses: number[] = [];
      for (let step = 1; step <= 20; step++) {
        const loss = t.scope(() => {
          const loss = t.matmul(drawn("step/x", [3, 2]), w).square().mean();
          t.backward(loss);
          return loss.detach();
        });
        t.adamStep(w, w.grad!, m, v, { lr: 0.1, beta1: 0.5, beta2: 0.9, eps: 1e-8, step });
        w.grad!.dispose();
        w.grad = null;
        losses.push(await loss.item());
        loss.dispose();
      }
      expect(losses[19]).toBeLessThan(losses[0] / 3);
      for (const x of [w, m, v]) x.dispose();
    });
  });
});
