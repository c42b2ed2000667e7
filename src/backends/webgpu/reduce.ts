// Reductions and softmax. Every sum is a tree or a loop that shapes alone decide, so that results repeat bit for bit.
import type { Buffer } from "../backend.ts";
import type { Gpu } from "./gpu.ts";
import { each, groupsOf } from "./elementwise.ts";
import { div, largest, mathematics, mod, sum, THREADS, workgroupReduce } from "./wgsl.ts";

/** Rows up to this long are one thread's; up to the other, where there are rows enough for all threads. */
const SHORT = 32, MIDDLE = 1024, ENOUGH = 1024;
/** Elements that a workgroup reduces of a long row. */
const LONG = 16384;

/** Sum or maximum of each row of x [rows, columns]. Long rows are cut, and their parts reduced again. */
export function reduceRows(
  gpu: Gpu,
  op: "sum" | "max",
  x: Buffer,
  out: Buffer,
  rows: number,
  columns: number,
): void {
  const combine = op === "sum" ? sum : largest;
  const start = op === "sum" ? "0.0" : "-3.4028234e38f";
  if (columns <= SHORT || columns <= MIDDLE && rows >= ENOUGH) {
    const width = columns % 4 === 0 ? 4 : 1, type = width === 4 ? "vec4f" : "f32";
    const value = width === 4
      ? combine(combine("total.x", "total.y"), combine("total.z", "total.w"))
      : "total";
    const kernel = gpu.kernel(`${op}Rows by threads, ${type}`, () => ({
      inputs: { x: type },
      outputs: { out: "f32" },
      params: { rows: "u32", vectors: "u32" },
      threads: THREADS,
      body: `${each("p.rows")}
  var total = ${type}(${start});
  for (var c = 0u; c < p.vectors; c++) { total = ${combine("total", `${type}(x[i * p.vectors + c])`)}; }
  out[i] = ${value};`,
    }));
    return gpu.run(kernel, [x, out], groupsOf(rows), { rows, vectors: columns / width });
  }
  const { team } = gpu;
  const parts = Math.ceil(columns / LONG), part = Math.ceil(columns / parts);
  const kernel = gpu.kernel(`${op}Rows ${columns}`, () => ({
    inputs: { x: "f32" },
    outputs: { out: "f32" },
    params: { groups: "u32" },
    threads: team,
    globals: workgroupReduce("reduce", "f32", team, combine),
    body: `  if (group >= p.groups) { return; }
  let row = ${div("group", parts)} * ${columns}u;
  let start = row + ${mod("group", parts)} * ${part}u;
  let end = min(start + ${part}u, row + ${columns}u);
  var mine = ${start};
  for (var at = start + lid; at < end; at += ${team}u) { mine = ${combine("mine", "f32(x[at])")}; }
  let total = reduce(mine, lid);
  if (lid == 0u) { out[group] = total; }`,
  }));
  if (parts === 1) return gpu.run(kernel, [x, out], rows, { groups: rows });
  gpu.with(rows * parts * 4, (partial) => {
    gpu.run(kernel, [x, partial], rows * parts, { groups: rows * parts });
    reduceRows(gpu, op, partial, out, rows, parts);
  });
}

/** How a workgroup of `team` threads looks at rows of `columns` elements: so many columns, and so many rows at a time. */
export function columnTiles(
  columns: number,
  team: number,
): { across: number; down: number; blocks: number } {
  let across = 1;
  while (across < columns && across < team) across *= 2;
  return { across, down: team / across, blocks: Math.ceil(columns / across) };
}

/** Adds up the values of the threads of one column; the sum is in `slots[column]` of the first row. */
export function sumDown(slots: string, across: number, team: number): string {
  return `workgroupBarrier();
  for (var rest = ${team / 2}u; rest >= ${across}u; rest >>= 1u) {
    if (lid < rest) { ${slots}[lid] += ${slots}[lid + rest]; }
    workgroupBarrier();
  }`;
}

/** Rows that a row of threads of a workgroup adds up at least; at most, where one workgroup then suffices; and workgroups. */
const COLUMN_STEPS = 8, LAST_STEPS = 32, COLUMN_PARTS = 256;

/** Sum of each column of x [rows, columns], in parts that are summed again. */
export function sumColumns(gpu: Gpu, x: Buffer, out: Buffer, rows: number, columns: number): void {
  const width = columns % 4 === 0 ? 4 : 1, type = width === 4 ? "vec4f" : "f32";
  const own = columns / width, { team } = gpu;
  const { across, down, blocks } = columnTiles(own, team);
  const part = rows <= down * LAST_STEPS
    ? rows
    : Math.max(down * COLUMN_STEPS, Math.ceil(rows / COLUMN_PARTS));
  const parts = Math.ceil(rows / part);
  const kernel = gpu.kernel(`sumColumns ${columns}`, () => ({
    inputs: { x: type },
    outputs: { out: type },
    params: { rows: "u32", groups: "u32", part: "u32" },
    threads: team,
    globals: `var<workgroup> slots: array<${type}, ${team}>;`,
    body: `  if (group >= p.groups) { return; }
  let column = ${mod("group", blocks)} * ${across}u + ${mod("lid", across)};
  let start = ${div("group", blocks)} * p.part;
  let end = min(start + p.part, p.rows);
  var mine = ${type}();
  if (column < ${own}u) {
    for (var row = start + ${div("lid", across)}; row < end; row += ${down}u) {
      mine += ${type}(x[row * ${own}u + column]);
    }
  }
  slots[lid] = mine;
  ${sumDown("slots", across, team)}
  if (lid < ${across}u && column < ${own}u) { out[${
      div("group", blocks)
    } * ${own}u + column] = slots[lid]; }`,
  }));
  const run = (to: Buffer) =>
    gpu.run(kernel, [x, to], parts * blocks, { rows, groups: parts * blocks, part });
  if (parts === 1) return run(out);
  gpu.with(parts * columns * 4, (partial) => {
    run(partial);
    sumColumns(gpu, partial, out, parts, columns);
  });
}

/** exp(scale (x - max)) over its sum; a workgroup has a row. */
export function softmax(
  gpu: Gpu,
  x: Buffer,
  out: Buffer,
  rows: number,
  columns: number,
  scale: number,
): void {
  const { team } = gpu;
  const kernel = gpu.kernel(`softmax ${columns}`, () => ({
    inputs: { x: "f32" },
    outputs: { out: "f32" },
    params: { rows: "u32", scale: "f32" },
    threads: team,
    globals: mathematics + workgroupReduce("top", "f32", team, largest) +
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
  }));
  gpu.run(kernel, [x, out], rows, { rows, scale });
}

/**
 * scale y (g - sum(g y)). As the y add up to 1, all g may be lessened by the same: by the one of the largest y, since where
 * that is nearly 1 the difference would lose its digits.
 */
export function softmaxGrad(
  gpu: Gpu,
  y: Buffer,
  g: Buffer,
  out: Buffer,
  rows: number,
  columns: number,
  scale: number,
): void {
  const { team } = gpu;
  const kernel = gpu.kernel(`softmaxGrad ${columns}`, () => ({
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
  }));
  gpu.run(kernel, [y, g, out], rows, { rows, scale });
}
