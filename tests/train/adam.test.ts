// The optimizer compared with torch's formula in plain numbers.
import { describe, expect, test } from "bun:test";
import { tensor } from "../../src/index.ts";
import { Adam } from "../../train/index.ts";
import { expectClose } from "../support/expectations.ts";
import { draws } from "../support/numbers.ts";

describe("Adam", () => {
  test("computes the same as torch, and skips parameters without a gradient", async () => {
    const n = 37, values = Float64Array.from(draws("p", n));
    const p = tensor(Float32Array.from(values), [n], { requiresGrad: true }), idle = tensor([1, 2]);
    const adam = new Adam(new Map([["p", p], ["idle", idle]]), { lr: 3e-3 });
    const m = new Float64Array(n), v = new Float64Array(n);
    for (let t = 1; t <= 5; t++) {
      const g = draws(`g${t}`, n).map((x, i) => i === 0 ? 0 : x * 10 ** -(i % 9));
      p.grad = tensor(g, [n]);
      adam.step();
      for (let i = 0; i < n; i++) {
        m[i] = 0.5 * m[i] + 0.5 * g[i];
        v[i] = 0.9 * v[i] + 0.1 * g[i] * g[i];
        values[i] -= 3e-3 / (1 - 0.5 ** t) * m[i] / (Math.sqrt(v[i]) / Math.sqrt(1 - 0.9 ** t) + 1e-8);
      }
      adam.zeroGrad();
    }
    expectClose(await p.floats(), values, 1e-6);
    expectClose(await adam.moments("p").expAvg.floats(), m, 1e-7);
    expect((await p.floats())[0]).toBe(draws("p", 1)[0]); // gradients of 0 change nothing
    expect(adam.moments("p").step).toBe(5);
    expect([...adam.state().keys()]).toEqual(["p"]);
    expect(await idle.floats()).toEqual(Float32Array.from([1, 2]));
    expect(() => adam.moments("q")).toThrow('"q" is not one of its 2 parameters');
    adam.dispose();
  });

  test("moves by 1.58 x lr at the first gradient after many zeros, as in taming's discriminator", async () => {
    const p = tensor([0, 0]);
    const adam = new Adam(new Map([["p", p]]), { lr: 1 });
    for (let t = 0; t < 200; t++) {
      p.grad = tensor([0, 0]);
      adam.step();
      adam.zeroGrad();
    }
    p.grad = tensor([1, -1]);
    adam.step();
    expectClose(await p.floats(), [-1.5811, 1.5811], 1e-3);
    adam.dispose();
  });
});
