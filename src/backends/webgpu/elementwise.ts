// Everything that passes over memory once: elementwise kernels in vectors of four, strided copies, rows by index, Adam.
// Vectors may reach behind the last element: blocks are whole vectors long.
import type { AdamSpec, BinaryOp, Buffer, Shape, UnaryOp, View, Walk } from "../backend.ts";
import { dtypeOf, type Gpu } from "./gpu.ts";
import { div, mathematics, mod, repeat, THREADS } from "./wgsl.ts";

/** The number of the thread over all workgroups; threads beyond `count` leave. */
export const each = (count: string) =>
  `  let i = group * ${THREADS}u + lid;
  if (i >= ${count}) { return; }`;

/** Workgroups for `count` threads. */
export const groupsOf = (count: number) => Math.ceil(count / THREADS);

const unaryOps: Record<UnaryOp, string> = {
  neg: "-v",
  abs: "abs(v)",
  sign: "sign(v)",
  exp: "exp4(v)",
  log: "log4(v)",
  sqrt: "sqrt(v)",
  square: "v * v",
  reciprocal: "1.0 / v",
  relu: "max(v, vec4f())",
  leakyRelu: "select(v * p.p0, v, v > vec4f())",
  sigmoid: "sigmoid4(v)",
  swish: "v * sigmoid4(v)",
  tanh: "tanh4(v)",
  softplus: "softplus4(v)",
  clamp: "min(max(v, vec4f(p.p0)), vec4f(p.p1))",
  affine: "fma(v, vec4f(p.p0), vec4f(p.p1))",
};

export function unary(gpu: Gpu, op: UnaryOp, x: Buffer, out: Buffer, length: number, p0: number, p1: number) {
  const kernel = gpu.kernel(op, () => ({
    inputs: { x: "vec4f" },
    outputs: { out: "vec4f" },
    params: { n: "u32", p0: "f32", p1: "f32" },
    threads: THREADS,
    globals: mathematics,
    body: `${each("p.n")}
  let v = vec4f(x[i]);
  out[i] = out_t(${unaryOps[op]});`,
  }));
  const n = Math.ceil(length / 4);
  gpu.run(kernel, [x, out], groupsOf(n), { n, p0, p1 });
}

const binaryOps: Record<BinaryOp, string> = {
  add: "u + v",
  sub: "u - v",
  mul: "u * v",
  div: "u / v",
  maximum: "max(u, v)",
  minimum: "min(u, v)",
  greater: "select(vec4f(), vec4f(1.0), u > v)",
  equal: "select(vec4f(), vec4f(1.0), u == v)",
  swishGrad: "u * swishGrad4(v)",
  reluGrad: "select(vec4f(), u, v > vec4f())",
  leakyReluGrad: "select(u * p.p0, u, v > vec4f())",
};

/** `out` may be `a` or `b`, which is then read where it is written. */
export function binary(
  gpu: Gpu,
  op: BinaryOp,
  [a, aWalk]: readonly [Buffer, Walk],
  [b, bWalk]: readonly [Buffer, Walk],
  out: Buffer,
  outer: number,
  inner: number,
  p0: number,
): void {
  const length = outer * inner;
  const isLine = (walk: Walk) => walk.inner === 1 && (outer === 1 || walk.outer === inner);
  const isFlat = isLine(aWalk) && isLine(bWalk);
  const width = isFlat || inner % 4 === 0 ? 4 : 1;
  const columns = inner / width;
  /** Element i of an operand. */
  const element = (name: string, walk: Walk): string => {
    if (isFlat) return `vec4f(${name}[i])`;
    const row = div("i", columns), column = mod("i", columns);
    if (walk.inner === 0) return `vec4f(f32(${name}[${row} * ${walk.outer}u]))`;
    const at = `${name}[${row} * ${walk.outer / width}u + ${column}]`;
    return width === 4 ? `vec4f(${at})` : `vec4f(f32(${at}))`;
  };
  const type = (walk: Walk) => width === 4 && (isFlat || walk.inner === 1) ? "vec4f" : "f32";
  // a buffer cannot be bound for reading and for writing at once
  const operands = [["a", a, aWalk], ["b", b, bWalk]] as const;
  const inputs = operands.filter(([, buffer]) => buffer !== out);
  const name = (n: string, buffer: Buffer) => buffer === out ? "out" : n;
  const walks = isFlat ? "" : ` ${inner}: ${[aWalk, bWalk].map((w) => `${w.outer} ${w.inner}`).join(", ")}`;
  const places = operands.map(([n, buffer]) => name(n, buffer)).join(" ");
  const kernel = gpu.kernel(`${op} ${places}${walks}`, () => ({
    inputs: Object.fromEntries(inputs.map(([n, , walk]) => [n, type(walk)])),
    outputs: { out: width === 4 ? "vec4f" : "f32" },
    params: { n: "u32", p0: "f32" },
    threads: THREADS,
    globals: op === "swishGrad" ? mathematics : "",
    body: `${each("p.n")}
  let u = ${element(name("a", a), aWalk)};
  let v = ${element(name("b", b), bWalk)};
  out[i] = out_t((${binaryOps[op]})${width === 4 ? "" : ".x"});`,
  }));
  const n = Math.ceil(length / width);
  gpu.run(kernel, [...inputs.map(([, buffer]) => buffer), out], groupsOf(n), { n, p0 });
}

export function fill(gpu: Gpu, out: Buffer, length: number, value: number): void {
  const kernel = gpu.kernel("fill", () => ({
    inputs: {},
    outputs: { out: "vec4f" },
    params: { n: "u32", value: "f32" },
    threads: THREADS,
    body: `${each("p.n")}\n  out[i] = out_t(vec4f(p.value));`,
  }));
  const n = Math.ceil(length / 4);
  gpu.run(kernel, [out], groupsOf(n), { n, value });
}

/** Words are copied as bits, i32 as well as f32; f16 as the numbers they are. */
export function copy(gpu: Gpu, x: View, out: View, shape: Shape): void {
  const n = shape.reduce((a, b) => a * b, 1);
  const type = [x, out].some(({ buffer }) => dtypeOf(buffer) === "f16") ? "f32" : "u32";
  const kernel = gpu.kernel(`copy ${type} ${shape}: ${x.strides} to ${out.strides}`, () => {
    const lines: string[] = [];
    let rest = "i";
    for (let d = shape.length - 1; d >= 0; d--) {
      if (shape[d] === 1) continue;
      lines.push(`  let i${d} = ${mod(rest, shape[d])};`);
      lines.push(`  let r${d} = ${div(rest, shape[d])};`);
      rest = `r${d}`;
    }
    const at = (offset: string, strides: readonly number[]) =>
      [offset, ...shape.flatMap((size, d) => size === 1 ? [] : [`i${d} * ${strides[d]}u`])].join(" + ");
    return {
      inputs: { x: type },
      outputs: { out: type },
      params: { n: "u32", begin: "u32", to: "u32" },
      threads: THREADS,
      body: `${each("p.n")}
${lines.join("\n")}
  out[${at("p.to", out.strides)}] = out_t(x[${at("p.begin", x.strides)}]);`,
    };
  });
  gpu.run(kernel, [x.buffer, out.buffer], groupsOf(n), { n, begin: x.offset, to: out.offset });
}

/** Rows of `columns` numbers with zeros behind them, so that they are whole vectors. */
export function padRows(
  gpu: Gpu,
  x: Buffer,
  offset: number,
  out: Buffer,
  rows: number,
  columns: number,
): void {
  const vectors = Math.ceil(columns / 4);
  const kernel = gpu.kernel(`padRows ${columns}`, () => ({
    inputs: { x: "f32" },
    outputs: { out: "vec4f" },
    params: { n: "u32", begin: "u32" },
    threads: THREADS,
    body: `${each("p.n")}
  let first = ${mod("i", vectors)} * 4u;
  let at = p.begin + ${div("i", vectors)} * ${columns}u + first;
  var v = vec4f();
${repeat(4, (e) => `  if (first + ${e}u < ${columns}u) { v[${e}] = f32(x[at + ${e}u]); }`)}
  out[i] = out_t(v);`,
  }));
  const n = rows * vectors;
  gpu.run(kernel, [x, out], groupsOf(n), { n, begin: offset });
}

export function gather(
  gpu: Gpu,
  indices: Buffer,
  table: Buffer,
  out: Buffer,
  count: number,
  columns: number,
) {
  const kernel = gpu.kernel(`gather ${columns}`, () => ({
    inputs: { indices: "u32", table: "f32" },
    outputs: { out: "f32" },
    params: { n: "u32" },
    threads: THREADS,
    body: `${each("p.n")}
  out[i] = table[indices[${div("i", columns)}] * ${columns}u + ${mod("i", columns)}];`,
  }));
  const n = count * columns;
  gpu.run(kernel, [indices, table, out], groupsOf(n), { n });
}

/** A thread has a column: the order of additions is that of the indices. */
export function scatterAdd(
  gpu: Gpu,
  indices: Buffer,
  rows: Buffer,
  table: Buffer,
  count: number,
  columns: number,
): void {
  const kernel = gpu.kernel(`scatterAdd ${columns}`, () => ({
    inputs: { indices: "u32", rows: "f32" },
    outputs: { table: "f32" },
    params: { count: "u32" },
    threads: 64,
    body: `  let column = group * 64u + lid;
  if (column >= ${columns}u) { return; }
  for (var i = 0u; i < p.count; i++) {
    let at = indices[i] * ${columns}u + column;
    table[at] += rows[i * ${columns}u + column];
  }`,
  }));
  gpu.run(kernel, [indices, rows, table], Math.ceil(columns / 64), { count });
}

/** m += (1 - b1)(g - m); v = b2 v + (1 - b2) g^2; p -= step m / (sqrt(v) / correction + eps), as torch orders it. */
export function adam(
  gpu: Gpu,
  param: Buffer,
  grad: Buffer,
  expAvg: Buffer,
  expAvgSq: Buffer,
  length: number,
  { lr, beta1, beta2, eps, step, lossScale }: AdamSpec,
): void {
  const scalars = { c1: 1 - beta1, b2: beta2, c2: 1 - beta2 };
  const rates = { rate: lr / (1 - beta1 ** step), correction: 1 / Math.sqrt(1 - beta2 ** step), eps };
  /** By their bits: drivers may take for granted that no number is Infinity or NaN. */
  const isFinite = "(bitcast<vec4u>(g[i]) & vec4u(0x7f800000u)) != vec4u(0x7f800000u)";
  const keep = (old: string, fresh: string) =>
    lossScale === undefined ? fresh : `select(${old}, ${fresh}, isFinite)`;
  const kernel = gpu.kernel(lossScale === undefined ? "adam" : "adam unscaled", () => ({
    inputs: { g: "vec4f" },
    outputs: { w: "vec4f", m: "vec4f", s: "vec4f" },
    params: {
      n: "u32",
      c1: "f32",
      b2: "f32",
      c2: "f32",
      rate: "f32",
      correction: "f32",
      eps: "f32",
      unscale: "f32",
    },
    threads: THREADS,
    body: `${each("p.n")}
  ${lossScale === undefined ? "" : `let isFinite = ${isFinite};`}
  let grad = ${lossScale === undefined ? "g[i]" : "g[i] * p.unscale"};
  let first = m[i] + p.c1 * (grad - m[i]);
  let second = s[i] * p.b2 + (grad * p.c2) * grad;
  let fresh = w[i] - (p.rate * first) / (sqrt(second) * p.correction + p.eps);
  m[i] = ${keep("m[i]", "first")};
  s[i] = ${keep("s[i]", "second")};
  w[i] = ${keep("w[i]", "fresh")};`,
  }));
  const n = Math.ceil(length / 4);
  const params = { n, ...scalars, ...rates, unscale: 1 / (lossScale ?? 1) };
  gpu.run(kernel, [grad, param, expAvg, expAvgSq], groupsOf(n), params);
}
