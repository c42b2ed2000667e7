// Pieces of WGSL that many kernels are made of.

/** The threads of a workgroup in kernels in which each thread works independently. */
export const THREADS = 256;

/** n / by, rounded up. */
export const ceil = (n: number, by: number): number => Math.ceil(n / by);

/** Statements that number the thread, `i`, over all workgroups; threads from `count` on return. */
export const each = (count: string): string =>
  `  let i = group * ${THREADS}u + lid;
  if (i >= ${count}) { return; }`;

/** The number of workgroups for `count` such threads. */
export const groupsOf = (count: number): number => ceil(count, THREADS);

const isPowerOfTwo = (n: number) => n > 0 && (n & (n - 1)) === 0;

/** e / n for a known n. It becomes a shift if n is a power of two. */
export function div(e: string, n: number): string {
  if (n === 1) return `(${e})`;
  return isPowerOfTwo(n) ? `((${e}) >> ${Math.log2(n)}u)` : `((${e}) / ${n}u)`;
}

/** e % n for a known n. */
export function mod(e: string, n: number): string {
  if (n === 1) return "0u";
  return isPowerOfTwo(n) ? `((${e}) & ${n - 1}u)` : `((${e}) % ${n}u)`;
}

/** The texts for 0 to n - 1, each on a line of its own. */
export function repeat(n: number, text: (i: number) => string): string {
  return Array.from({ length: n }, (_, i) => text(i)).join("\n");
}

/** A float as WGSL. */
export function float(x: number): string {
  const text = String(Math.fround(x));
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

/** Loads elements `at` to `at` + 3 of a buffer. @param isVector whether its elements are vectors of four */
export function loadVector(buffer: string, at: string, isVector: boolean): string {
  if (isVector) return `vec4f(${buffer}[(${at}) >> 2u])`;
  const number = (e: number) => `f32(${buffer}[min(${at} + ${e}u, arrayLength(&${buffer}) - 1u)])`;
  return `vec4f(${[0, 1, 2, 3].map(number).join(", ")})`;
}

/**
 * Stores the vector `value` to columns `column` to `column` + 3 of a row of out, which begins at element `at`. Columns from
 * `columns` on are not stored.
 */
export function storeVector(
  at: string,
  column: string,
  columns: string,
  isVector: boolean,
  value: string,
): string {
  if (isVector) return `out[(${at} + ${column}) >> 2u] = out_t(${value});`;
  return repeat(
    4,
    (e) =>
      `if (${column} + ${e}u < ${columns}) { out[${at} + ${column} + ${e}u] = out_t((${value})[${e}]); }`,
  );
}

/** A function that combines one value of each thread of the workgroup, in a fixed tree; all threads get the result. */
export function workgroupReduce(
  name: string,
  type: string,
  threads: number,
  combine: (a: string, b: string) => string,
): string {
  return `
var<workgroup> ${name}Slots: array<${type}, ${threads}>;
fn ${name}(mine: ${type}, lid: u32) -> ${type} {
  workgroupBarrier();
  ${name}Slots[lid] = mine;
  workgroupBarrier();
  for (var half = ${threads / 2}u; half > 0u; half >>= 1u) {
    if (lid < half) { ${name}Slots[lid] = ${combine(`${name}Slots[lid]`, `${name}Slots[lid + half]`)}; }
    workgroupBarrier();
  }
  return ${name}Slots[0];
}`;
}

/** Addition, for `workgroupReduce`. */
export const sum = (a: string, b: string): string => `${a} + ${b}`;
