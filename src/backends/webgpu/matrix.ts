// The product of f16 factors by subgroup matrices, the units that GPUs have for it; sums in f32. An experimental feature of
// Dawn, and of Chrome by a flag: used where a small product has proved right (`proveMatrix`).
import type { FoundAdapter } from "./adapter.ts";
import { copy } from "./elementwise.ts";
import { ceil, eachSum, loadsOf, rowOf, type Rows, threadsOf, type Tile } from "./gemm.ts";
import type { Gpu } from "./gpu.ts";
import { matmul } from "./matmul.ts";
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
const DEPTH = 4 * MATRIX_QUADS, SIDE = 64, HALF = SIDE / 2;
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

/**
 * `product` of gemm.ts: leaves the thread's sums in acc<i>_0. All threads load; the first four subgroups multiply, and
 * where subgroups are smaller than the largest there are more, which wait.
 */
export function matrixProduct(tile: Tile, matrix: MatrixShape, rows: Rows, columns: number): string {
  const { m, n, k } = matrix, threads = threadsOf(tile), down = HALF / m, across = HALF / n;
  const store = (array: string, at: string) =>
    repeat(4, (e) => `      ${array}[(${at}) * 4u + ${e}u] = v.${"xyzw"[e]};`);
  const loadA = (j: number) =>
    `    { let v = select(vec4h(), vec4h(a[at${j} + channel + lane]), has${j});
${store("aTile", `lid + ${j * threads}u`)} }`;
  const vectors = (DEPTH * SIDE) / 4;
  const loadB = (j: number) => {
    const at = `(lid + ${j * threads}u)`;
    return `    { let v = vec4h(b[(tap * ${rows.channels * 4}u + channel * 4u + ${div(at, SIDE / 4)}) * ` +
      `${columns / 4}u + columnTile * ${SIDE / 4}u + ${mod(at, SIDE / 4)}]);\n${store("bTile", at)} }`;
  };
  const each = (text: (i: number, j: number) => string) =>
    repeat(down, (i) => repeat(across, (j) => text(i, j)));
  const left = (i: number) =>
    `      let left${i} = subgroupMatrixLoad<subgroup_matrix_left<f16, ${k}, ${m}>, row_major>(&aTile, ` +
    `(top + ${i * m}u) * ${DEPTH}u + step, ${DEPTH}u);`;
  const right = (j: number) =>
    `      let right${j} = subgroupMatrixLoad<subgroup_matrix_right<f16, ${n}, ${k}>, row_major>(&bTile, ` +
    `step * ${SIDE}u + edge + ${j * n}u, ${SIDE}u);`;
  // that all of a subgroup is at the same place, the compiler cannot see
  const ofSubgroups = "@diagnostic(off, chromium.subgroup_matrix_uniformity) if (quarter < 4u)";
  return `  let quarter = lid / lanes;
  let top = (quarter >> 1u) * ${HALF}u;
  let edge = (quarter & 1u) * ${HALF}u;
${each((i, j) => `  var part${i}_${j} = subgroup_matrix_result<f32, ${n}, ${m}>();`)}
  for (var tap = 0u; tap < ${rows.taps}u; tap++) {
${rows.step}
${repeat(loadsOf(tile), rows.find)}
  for (var channel = 0u; channel < ${rows.channels}u; channel += ${MATRIX_QUADS}u) {
    workgroupBarrier();
${repeat(loadsOf(tile), loadA)}
${repeat(ceil(vectors, threads), loadB)}
    workgroupBarrier();
    ${ofSubgroups} { for (var step = 0u; step < ${DEPTH}u; step += ${k}u) {
${repeat(down, left)}
${repeat(across, right)}
${
    each((i, j) =>
      `      part${i}_${j} = subgroupMatrixMultiplyAccumulate(left${i}, right${j}, part${i}_${j});`
    )
  }
    } }
  }
  }
  ${ofSubgroups} {
${
    each((i, j) => {
      const at = `(top + ${i * m}u) * ${SIDE}u + edge + ${j * n}u`;
      return `    subgroupMatrixStore<row_major>(&sums, ${at}, part${i}_${j}, ${SIDE}u);`;
    })
  }
  }
  workgroupBarrier();
${
    eachSum(tile, (i) =>
      `  let from${i} = (${rowOf(tile, i)}) * ${SIDE}u + tx * 4u;
  let acc${i}_0 = vec4f(sums[from${i}], sums[from${i} + 1u], sums[from${i} + 2u], sums[from${i} + 3u]);`)
  }`;
}

/** Whether a product by matrices is right here: of numbers whose sums f32 knows exactly, beside the definition on the CPU. */
export async function proveMatrix(gpu: Gpu): Promise<boolean> {
  const [m, k, n] = [80, 64, 72];
  const numbers = (count: number, prime: number) =>
    Float32Array.from({ length: count }, (_, i) => ((i * prime) % 31 - 15) / 16);
  const left = numbers(m * k, 7919), right = numbers(k * n, 104729);
  const [whole, a, b, out] = [
    gpu.alloc(m * k * 4),
    gpu.alloc(m * k * 2, "f16"),
    gpu.alloc(k * n * 4),
    gpu.alloc(m * n * 4),
  ];
  const view = (buffer: typeof a, columns: number) => ({ buffer, offset: 0, strides: [columns, 1] });
  gpu.write(whole, left, 0);
  gpu.write(b, right, 0);
  copy(gpu, view(whole, k), view(a, k), [m, k]);
  matmul(gpu, view(a, k), view(b, n), view(out, n), m, k, n, false);
  const found = await gpu.read(out, "f32", 0, m * n);
  for (const buffer of [whole, a, b, out]) gpu.free(buffer);
  return found.every((value, at) => {
    const row = Math.floor(at / n), column = at % n;
    let sum = 0;
    for (let i = 0; i < k; i++) sum += left[row * k + i] * right[i * n + column];
    return value === sum;
  });
}
