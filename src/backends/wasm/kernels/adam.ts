// The optimizer's step (Kingma & Ba 2015), on a parameter and its two moments in one pass.
import { type ModuleBuilder } from "../assembler/assembler.ts";
import { i32, v } from "../assembler/expressions.ts";
import { argument, argumentF32 } from "../threads.ts";
import { CHUNK } from "./elementwise.ts";
import { atMost, eachVector, kernel, storeLanes } from "./kernel.ts";

/**
 * m += (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; p = decay p - step m / (sqrt(v) / correction + eps), in torch's order of
 * operations. arguments: param, grad, expAvg, expAvgSq, length, 1 - beta1, beta2, 1 - beta2, lr / (1 - beta1^t),
 * 1 / sqrt(1 - beta2^t), eps, decay
 */
export function addAdam(m: ModuleBuilder): void {
  kernel(m, "adam", (f, tile) => {
    const start = f.let(i32.mul(tile, CHUNK));
    const n = atMost(f, CHUNK, i32.sub(argument(4), start));
    const [p, g, m1, m2] = [0, 1, 2, 3].map((place) => f.let(i32.add(argument(place), i32.shl(start, 2))));
    const [c1, b2, c2, rate, correction, eps, decay] = [5, 6, 7, 8, 9, 10, 11].map((place) =>
      f.let(v.splat(argumentF32(place)))
    );
    eachVector(f, n, (at, o, left) => {
      const grad = f.let(f.load(i32.add(g, at), o));
      const first = f.let(f.load(i32.add(m1, at), o));
      f.set(first, v.add(first, v.mul(c1, v.sub(grad, first))));
      const second = f.let(v.add(v.mul(f.load(i32.add(m2, at), o), b2), v.mul(v.mul(grad, c2), grad)));
      const root = v.add(v.mul(v.sqrt(second), correction), eps);
      const to = i32.add(p, at);
      storeLanes(f, i32.add(m1, at), first, o, left);
      storeLanes(f, i32.add(m2, at), second, o, left);
      storeLanes(f, to, v.sub(v.mul(f.load(to, o), decay), v.div(v.mul(rate, first), root)), o, left);
    });
  });
}
