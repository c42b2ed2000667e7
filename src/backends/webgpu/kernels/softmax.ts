// Softmax along rows and its gradient, and the place of the maximum. Each workgroup of `team` threads computes a row.
import type { Calls } from "../../kernels.ts";
import { mathematics } from "./mathematics.ts";
import type { Dispatch } from "./source.ts";
import { sum, workgroupReduce } from "./wgsl.ts";

/** exp(scale (x - max)) divided by its sum. */
export function softmax(team: number, { x, out, rows, columns, scale }: Calls["softmax"]): Dispatch {
  return {
    name: `softmax ${columns}`,
    operands: [x, out],
    groups: rows,
    params: { rows, scale },
    source: () => ({
      inputs: { x: "f32" },
      outputs: { out: "f32" },
      params: { rows: "u32", scale: "f32" },
      threads: team,
      globals: mathematics + workgroupReduce("top", "f32", team, (a, b) => `max(${a}, ${b})`) +
        workgroupReduce("total", "f32", team, sum),
      body: `  if (group >= p.rows) { return; }
  let row = group * ${columns}u;
  var mine = -3.4028234e38f;
  for (var c = lid; c < ${columns}u; c += ${team}u) { mine = max(mine, f32(x[row + c])); }
  let highest = top(mine, lid);
  mine = 0.0;
  for (var c = lid; c < ${columns}u; c += ${team}u) {
    let e = exp4(vec4f(p.scale * (f32(x[row + c]) - highest))).x;
    out[row + c] = e;
    mine += e;
  }
  let inverse = 1.0 / total(mine, lid);
  for (var c = lid; c < ${columns}u; c += ${team}u) { out[row + c] *= inverse; }`,
    }),
  };
}

/**
 * scale y (g - sum(g y)). Because the y add up to 1, any number may be subtracted from all g without changing the result. The
 * g of the largest y is subtracted; otherwise the difference would lose its digits when that y is nearly 1.
 */
export function softmaxGrad(
  team: number,
  { y, g, out, rows, columns, scale }: Calls["softmaxGrad"],
): Dispatch {
  return {
    name: `softmaxGrad ${columns}`,
    operands: [y, g, out],
    groups: rows,
    params: { rows, scale },
    source: () => ({
      inputs: { y: "f32", g: "f32" },
      outputs: { out: "f32" },
      params: { rows: "u32", scale: "f32" },
      threads: team,
      globals: workgroupReduce("total", "f32", team, sum) +
        workgroupReduce("peak", "vec2f", team, (a, b) => `select(${b}, ${a}, ${a}.x >= ${b}.x)`),
      body: `  if (group >= p.rows) { return; }
  let row = group * ${columns}u;
  var highest = vec2f(-1.0, 0.0);
  for (var c = lid; c < ${columns}u; c += ${team}u) {
    if (y[row + c] > highest.x) { highest = vec2f(y[row + c], g[row + c]); }
  }
  let base = peak(highest, lid).y;
  var mine = 0.0;
  for (var c = lid; c < ${columns}u; c += ${team}u) { mine += y[row + c] * (g[row + c] - base); }
  let dot = total(mine, lid);
  for (var c = lid; c < ${columns}u; c += ${team}u) {
    out[row + c] = p.scale * y[row + c] * (g[row + c] - base - dot);
  }`,
    }),
  };
}

/** The index of the largest value; of equal ones the lowest. As an f32 it is exact for up to 2^24 columns. */
export function argmax(team: number, { x, out, rows, columns }: Calls["argmax"]): Dispatch {
  return {
    name: `argmax ${columns}`,
    operands: [x, out],
    groups: rows,
    params: { rows },
    source: () => ({
      inputs: { x: "f32" },
      outputs: { out: "i32" },
      params: { rows: "u32" },
      threads: team,
      globals: workgroupReduce(
        "peak",
        "vec2f",
        team,
        (a, b) => `select(${b}, ${a}, ${a}.x > ${b}.x || (${a}.x == ${b}.x && ${a}.y <= ${b}.y))`,
      ),
      body: `  if (group >= p.rows) { return; }
  let row = group * ${columns}u;
  var highest = vec2f(-3.4028234e38f, 0.0);
  for (var c = lid; c < ${columns}u; c += ${team}u) {
    let value = f32(x[row + c]);
    if (value > highest.x) { highest = vec2f(value, f32(c)); }
  }
  let best = peak(highest, lid).y;
  if (lid == 0u) { out[group] = i32(best); }`,
    }),
  };
}
