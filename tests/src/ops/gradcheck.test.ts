// Compares every operation's result with its definition, if a case has one, and every gradient with central differences. Each
// operation is in the middle of a graph, with operations before and after it, so that the gradient that reaches it is not 1.
import { expect, test } from "bun:test";
import * as t from "../../../src/index.ts";
import { describeDevices } from "../../support/devices.ts";
import { expectClose, expectNoLeak } from "../../support/expectations.ts";
import { draws } from "../../support/numbers.ts";
import { type OpCase, opTests } from "./cases.ts";

const checkpoint: OpCase = {
  name: "checkpoint",
  inputs: [[3, 4], [4, 5]],
  run: (a, b) => t.checkpoint((x, w) => t.matmul(x.square(), w).swish(), a, b),
};
const all = Object.values(opTests);
const checked = all.filter(({ gradient }) => gradient === "checked").flatMap(({ cases }) => cases);
const defined = all.flatMap(({ cases }) => cases).filter(({ wanted }) => wanted);

function values(key: string, n: number, domain: OpCase["domain"]): Float32Array {
  const u = draws(key, n);
  if (domain === "positive") return u.map((x) => 1 + x / 2);
  if (domain !== "apart") return u;
  // the ranks of the drawn numbers, as multiples of 0.1 without 0
  const order = [...u.keys()].sort((a, b) => u[a] - u[b]);
  const out = new Float32Array(n);
  order.forEach((at, rank) => out[at] = (rank - Math.floor(n / 2) + 0.5) / 10);
  return out;
}

describeDevices("gradients against central differences", () => {
  for (const c of [...checked, checkpoint]) {
    test(c.name, async () => {
      await expectNoLeak(async () => {
        const inputs = c.inputs.map((shape, i) =>
          t.tensor(values(`${c.name}/${i}`, shape.reduce((a, b) => a * b, 1), c.domain), shape, {
            requiresGrad: true,
          })
        );
        const graph = () => {
          const out = c.run(...inputs.map((x) => x.mul(1.25)));
          const weights = t.tensor(draws(`${c.name}/w`, out.size), out.shape);
          return out.mul(weights).mul(0.5).sum();
        };
        t.scope(() => t.backward(graph()));
        for (const x of inputs) {
          const [analytic, at] = [await x.grad!.floats(), await x.floats()];
          const scale = Math.max(0.1, ...analytic.map(Math.abs));
          const value = (i: number, moved: number) => {
            const values = at.slice();
            values[i] = moved;
            x.write(values);
            return t.noGrad(() => t.scope(() => graph().reshape(1)));
          };
          // every third element is enough to find an error, and keeps the suite fast
          const places = [...at.keys()].filter((i) => x.size <= 60 || i % 3 === 0);
          const h = 0.01, low = at.map((v) => v - h), high = at.map((v) => v + h);
          const losses = places.flatMap((i) => [value(i, low[i]), value(i, high[i])]);
          x.write(at);
          const all = t.concat(losses, 0), read = await all.floats(); // all together, because each read of a GPU is slow
          for (const loss of [...losses, all]) loss.dispose();
          for (const [n, i] of places.entries()) {
            const numeric = (read[2 * n + 1] - read[2 * n]) / (high[i] - low[i]);
            expect(Math.abs(numeric - analytic[i]) / scale).toBeLessThan(3e-3);
          }
        }
        for (const x of inputs) {
          x.grad?.dispose();
          x.dispose();
        }
      });
    });
  }
});

describeDevices("results against the definition", () => {
  for (const c of defined) {
    test(c.name, async () => {
      await expectNoLeak(() =>
        t.asyncScope(async () => {
          const numbers = c.inputs.map((shape, i) => {
            return values(`${c.name}/${i}`, shape.reduce((a, b) => a * b, 1), c.domain);
          });
          const out = t.noGrad(() => c.run(...numbers.map((x, i) => t.tensor(x, c.inputs[i]))));
          expectClose(await out.data(), c.wanted!(...numbers), 2e-6);
        })
      );
    });
  }
});
