// Chapter 2, gradients: `deno run -A docs/book/solutions/2.ts` prints
//   1. loss 49, slopes -42 and -14
//   2. (loss(a + h) - loss(a - h)) / 2h = -28.000
//   3. distance from 2 after 6 steps: 2.986 at 0.2142, 3.002 at 0.2143
import { scope, tensor } from "../../../mod.ts";

// 1. A sum changes by one for each unit of either part.
interface Value {
  readonly value: number;
  slope: number;
}
const tape: (() => void)[] = [];
const number = (value: number): Value => ({ value, slope: 0 });

function times(a: Value, b: Value): Value {
  const out = number(a.value * b.value);
  tape.push(() => {
    a.slope += b.value * out.slope;
    b.slope += a.value * out.slope;
  });
  return out;
}

function plus(a: Value, b: Value): Value {
  const out = number(a.value + b.value);
  tape.push(() => {
    a.slope += out.slope;
    b.slope += out.slope;
  });
  return out;
}

const a = number(-1), b = number(2), error = plus(plus(times(a, number(3)), b), number(-6));
const loss = times(error, error);
loss.slope = 1;
for (const step of tape.reverse()) step();
console.log(`1. loss ${loss.value}, slopes ${a.slope} and ${b.slope}`);

// 2. The loss is a parabola, for which this difference is exact but for rounding.
const x = tensor([1, 2, 3]), y = tensor([2, 4, 6]);
const lossAt = (slope: number): Promise<number> => scope(() => x.mul(slope).sub(y).square().mean()).item();
const h = 0.01, slope = (await lossAt(-1 + h) - await lossAt(-1 - h)) / (2 * h);
console.log(`2. (loss(a + h) - loss(a - h)) / 2h = ${slope.toFixed(3)}`);

// 3. The loss is the mean of (x a - 2 x)^2 = p (a - 2)^2, with p the mean of x^2, 14/3. A step multiplies a - 2 by 1 - 2 p
// rate, and this is -1 at rate = 1 / p = 0.214286. Above, the distance from 2 grows.
const distanceAfter = (steps: number, rate: number): number => {
  let at = -1;
  for (let step = 0; step < steps; step++) at -= rate * 2 * 14 / 3 * (at - 2);
  return Math.abs(at - 2);
};
const [below, above] = [0.2142, 0.2143].map((rate) => distanceAfter(6, rate).toFixed(3));
console.log(`3. distance from 2 after 6 steps: ${below} at 0.2142, ${above} at 0.2143`);
