// The product of f16 factors by subgroup matrices, the units that GPUs have for it; sums in f32. An experimental feature of
// Dawn, and of Chrome by a flag: used where small products have proved right (prove.ts).
import type { FoundAdapter } from "./adapter.ts";
import { ceil, eachSum, loadsOf, rowOf, type Rows, threadsOf, type Tile } from "./gemm.ts";
import { div, mod, repeat } from "./wgsl.ts";

export const MATRIX_FEATURE = "chromium-experimental-subgroup-matrix";
export const matrixExtensions: readonly string[] = ["subgroups", "chromium_experimental_subgroup_matrix"];

/** left [m, k] times right [k, n] by the threads of one subgroup. */
export interface MatrixShape {
  readonly m: number;
  readonly n: number;
  readonly k: number;
  /** Of a workgroup: four of the largest subgroups at least. */
  readonly threads: number;
}

/** Vectors of four along the depth in the workgroup's memory. */
export const MATRIX_QUADS = 8;
export const DEPTH = 4 * MATRIX_QUADS;
const SIDE = 64, HALF = SIDE / 2;
/** Bytes of workgroup memory. */
export const MATRIX_MEMORY = 2 * SIDE * DEPTH * 2 + SIDE * SIDE * 4;

interface Configs {
  readonly subgroupMatrixConfigs?: Iterable<
    { componentType: string; resultComponentType: string; M: number; N: number; K: number }
  >;
}

/**
 * What the adapter offers for f16 factors and f32 sums, or null. Software, where they take a minute to compile and gain
 * nothing, is asked only with TESSERA_MATRIX=1; TESSERA_MATRIX=0 asks nobody.
 */
export function matrixShapeOf(
  { adapter: { features, info, limits }, report }: FoundAdapter,
): MatrixShape | null {
  const { TESSERA_MATRIX = report.isSoftware ? "0" : "1" } = globalThis.process?.env ?? {};
  const names: { has(name: string): boolean } = features, most = info.subgroupMaxSize ?? 0;
  if (!Number(TESSERA_MATRIX) || !names.has(MATRIX_FEATURE) || !names.has("shader-f16") || most === 0) {
    return null;
  }
  const threads = Math.max(128, 4 * most);
  if (threads > limits.maxComputeInvocationsPerWorkgroup) return null;
  if (limits.maxComputeWorkgroupStorageSize < MATRIX_MEMORY) return null;
  const found = [...(info as Configs).subgroupMatrixConfigs ?? []].find((config) =>
    config.componentType === "f16" && config.resultComponentType === "f32" &&
    HALF % config.M === 0 && HALF % config.N === 0 && DEPTH % config.K === 0
  );
  return found ? { m: found.M, n: found.N, k: found.K, threads } : null;
}

/** 64x64, a quarter for each of four subgroups. */
export function matrixTile(matrix: MatrixShape): Tile {
  const perThread = (SIDE * SIDE) / 4 / matrix.threads;
  return { rows: SIDE, columns: SIDE, perThread, vectors: 1, kind: "matrix", matrix };
}

export const matrixMemory = `var<workgroup> aTile: array<f16, ${SIDE * DEPTH}>;
var<workgroup> bTile: array<f16, ${DEPTH * SIDE}>;
var<workgroup> sums: array<f32, ${SIDE * SIDE}>;`;

/** Stores vector `v` of four as vector `at` of an array of f16. */
export const storeHalves = (array: string, at: string): string =>
  repeat(4, (e) => `      ${array}[(${at}) * 4u + ${e}u] = v.${"xyzw"[e]};`);

// that all of a subgroup is at the same place, the compiler cannot see
const OF_SUBGROUPS = "@diagnostic(off, chromium.subgroup_matrix_uniformity) if (quarter < 4u)";

/**
 * Texts for a product of aTile and bTile [DEPTH, SIDE], where aTile is [SIDE, DEPTH], or [DEPTH, SIDE] if it lies turned.
 * All threads load; the first four subgroups multiply, and where subgroups are smaller than the largest there are more,
 * which wait.
 */
export function matrixTexts(
  { m, n, k }: MatrixShape,
  isTurned: boolean,
): { begin: string; multiply: string; end: string } {
  const down = HALF / m, across = HALF / n;
  const each = (text: (i: number, j: number) => string) =>
    repeat(down, (i) => repeat(across, (j) => text(i, j)));
  const left = (i: number) => {
    const place = `top + ${i * m}u`;
    const [order, at] = isTurned
      ? ["col_major", `step * ${SIDE}u + ${place}, ${SIDE}u`]
      : ["row_major", `(${place}) * ${DEPTH}u + step, ${DEPTH}u`];
    return `      let left${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${k}, ${m}>, ${order}>(&aTile, ${at});`;
  };
  const right = (j: number) =>
    `      let right${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${n}, ${k}>, row_major>(&bTile, ` +
    `step * ${SIDE}u + edge + ${j * n}u, ${SIDE}u);`;
  const store = (i: number, j: number) =>
    `    subgroupMatrixStore<row_major>(&sums, (top + ${i * m}u) * ${SIDE}u + edge + ${
      j * n
    }u, part${i}_${j}, ${SIDE}u);`;
  return {
    begin: `  let quarter = lid / lanes;
  let top = (quarter >> 1u) * ${HALF}u;
  let edge = (quarter & 1u) * ${HALF}u;
${each((i, j) => `  var part${i}_${j} = subgroup_matrix_result<f32, ${n}, ${m}>();`)}`,
    multiply: `    ${OF_SUBGROUPS} { for (var step = 0u; step < ${DEPTH}u; step += ${k}u) {
${repeat(down, left)}
${repeat(across, right)}
${
      each((i, j) =>
        `      part${i}_${j} = subgroupMatrixMultiplyAccumulate(left${i}, right${j}, part${i}_${j});`
      )
    }
    } }`,
    end: `  ${OF_SUBGROUPS} {
${each(store)}
  }
  workgroupBarrier();`,
  };
}

/** Four sums of row `row` of the tile, from its column 4 tx on. */
export const sumsOf = (row: string): string =>
  `vec4f(${[0, 1, 2, 3].map((e) => `sums[(${row}) * ${SIDE}u + tx * 4u + ${e}u]`).join(", ")})`;

/** `product` of gemm.ts: leaves the thread's sums in acc<i>_0. */
export function matrixProduct(tile: Tile, matrix: MatrixShape, rows: Rows, vectors: string): string {
  const threads = threadsOf(tile), { begin, multiply, end } = matrixTexts(matrix, false);
  const loadA = (j: number) =>
    `    { let v = select(vec4h(), vec4h(a[at${j} + channel + lane]), has${j});
${storeHalves("aTile", `lid + ${j * threads}u`)} }`;
  const loadB = (j: number) => {
    const at = `(lid + ${j * threads}u)`;
    return `    { let v = vec4h(b[((tap * ${rows.channels} + channel) * 4u + ${div(at, SIDE / 4)}) * ` +
      `${vectors} + columnTile * ${SIDE / 4}u + ${mod(at, SIDE / 4)}]);\n${storeHalves("bTile", at)} }`;
  };
  return `${begin}
  for (var tap = 0u; tap < ${rows.taps}; tap++) {
${rows.step}
${repeat(loadsOf(tile), rows.find)}
  for (var channel = 0u; channel < ${rows.channels}; channel += ${MATRIX_QUADS}u) {
    workgroupBarrier();
${repeat(loadsOf(tile), loadA)}
${repeat(ceil((DEPTH * SIDE) / 4, threads), loadB)}
    workgroupBarrier();
${multiply}
  }
  }
${end}
${eachSum(tile, (i) => `  let acc${i}_0 = ${sumsOf(rowOf(tile, i))};`)}`;
}
