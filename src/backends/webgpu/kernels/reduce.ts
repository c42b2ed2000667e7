// Sums of rows and columns. Each sum is a tree or a loop whose order depends on the shapes alone, so that results are the
// same bit for bit on every run.
import type { Slot } from "../../buffer.ts";
import type { Dispatch } from "./source.ts";
import { ceil, div, each, groupsOf, mod, sum, THREADS, workgroupReduce } from "./wgsl.ts";

/** Sum of each row of x [rows, columns]; each thread adds up a row. */
export function rowSumsByThreads(x: Slot, out: Slot, rows: number, columns: number): Dispatch {
  const width = columns % 4 === 0 ? 4 : 1, type = width === 4 ? "vec4f" : "f32";
  return {
    name: `sumRows by threads, ${type}`,
    operands: [x, out],
    groups: groupsOf(rows),
    params: { rows, vectors: columns / width },
    source: () => ({
      inputs: { x: type },
      outputs: { out: "f32" },
      params: { rows: "u32", vectors: "u32" },
      threads: THREADS,
      body: `${each("p.rows")}
  var total = ${type}(0.0);
  for (var c = 0u; c < p.vectors; c++) { total = total + ${type}(x[i * p.vectors + c]); }
  out[i] = ${width === 4 ? "total.x + total.y + total.z + total.w" : "total"};`,
    }),
  };
}

/**
 * Sums of `parts` stretches of each row of x [rows, columns]: out is [rows, parts]. Each workgroup adds up a stretch.
 */
export function rowSumsByTeams(
  team: number,
  x: Slot,
  out: Slot,
  rows: number,
  columns: number,
  parts: number,
): Dispatch {
  const groups = rows * parts, part = ceil(columns, parts);
  return {
    name: `sumRows ${columns}`,
    operands: [x, out],
    groups,
    params: { groups },
    source: () => ({
      inputs: { x: "f32" },
      outputs: { out: "f32" },
      params: { groups: "u32" },
      threads: team,
      globals: workgroupReduce("reduce", "f32", team, sum),
      body: `  if (group >= p.groups) { return; }
  let row = ${div("group", parts)} * ${columns}u;
  let start = row + ${mod("group", parts)} * ${part}u;
  let end = min(start + ${part}u, row + ${columns}u);
  var mine = 0.0;
  for (var at = start + lid; at < end; at += ${team}u) { mine = mine + f32(x[at]); }
  let total = reduce(mine, lid);
  if (lid == 0u) { out[group] = total; }`,
    }),
  };
}

/**
 * How workgroups of `team` threads cover rows of `columns` elements: each takes `across` columns of `down` rows at a time,
 * and there are `blocks` blocks of columns.
 */
export function columnTiles(
  columns: number,
  team: number,
): { across: number; down: number; blocks: number } {
  let across = 1;
  while (across < columns && across < team) across *= 2;
  return { across, down: team / across, blocks: ceil(columns, across) };
}

/** Adds up the values that the threads of each column put into `slots`. The sum is then in `slots[column]`. */
export function sumDown(slots: string, across: number, team: number): string {
  return `workgroupBarrier();
  for (var rest = ${team / 2}u; rest >= ${across}u; rest >>= 1u) {
    if (lid < rest) { ${slots}[lid] += ${slots}[lid + rest]; }
    workgroupBarrier();
  }`;
}

/** The sums of each column of x [rows, columns] over stretches of `part` rows: out is [parts, columns]. */
export function columnSums(
  team: number,
  x: Slot,
  out: Slot,
  rows: number,
  columns: number,
  part: number,
): Dispatch {
  const width = columns % 4 === 0 ? 4 : 1, type = width === 4 ? "vec4f" : "f32";
  const own = columns / width, { across, down, blocks } = columnTiles(own, team);
  const groups = ceil(rows, part) * blocks;
  return {
    name: `sumColumns ${columns}`,
    operands: [x, out],
    groups,
    params: { rows, groups, part },
    source: () => ({
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
    }),
  };
}
