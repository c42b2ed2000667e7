// Elementwise kernels, in vectors of four. The last vector may extend beyond the last element, because the size of a block
// of memory is a multiple of a vector.
import type { BinaryOp, Calls, UnaryOp, Walk } from "../../kernels.ts";
import { mathematics } from "./mathematics.ts";
import type { Dispatch } from "./source.ts";
import { ceil, div, each, groupsOf, mod, THREADS } from "./wgsl.ts";

export function fill({ out, value }: Calls["fill"]): Dispatch {
  const n = ceil(out.length, 4);
  return {
    name: "fill",
    operands: [out],
    groups: groupsOf(n),
    params: { n, value },
    source: () => ({
      inputs: {},
      outputs: { out: "vec4f" },
      params: { n: "u32", value: "f32" },
      threads: THREADS,
      body: `${each("p.n")}\n  out[i] = out_t(vec4f(p.value));`,
    }),
  };
}

const unaryOps: Readonly<Record<UnaryOp, string>> = {
  abs: "abs(v)",
  sign: "sign(v)",
  exp: "exp4(v)",
  log: "log4(v)",
  sqrt: "sqrt(v)",
  square: "v * v",
  relu: "max(v, vec4f())",
  leakyRelu: "select(v * p.p0, v, v > vec4f())",
  sigmoid: "sigmoid4(v)",
  swish: "v * sigmoid4(v)",
  tanh: "tanh4(v)",
  softplus: "softplus4(v)",
  clamp: "min(max(v, vec4f(p.p0)), vec4f(p.p1))",
  affine: "fma(v, vec4f(p.p0), vec4f(p.p1))",
};

export function unary({ op, x, out, p0, p1 }: Calls["unary"]): Dispatch {
  const n = ceil(out.length, 4);
  return {
    name: op,
    operands: [x, out],
    groups: groupsOf(n),
    params: { n, p0, p1 },
    source: () => ({
      inputs: { x: "vec4f" },
      outputs: { out: "vec4f" },
      params: { n: "u32", p0: "f32", p1: "f32" },
      threads: THREADS,
      globals: mathematics,
      body: `${each("p.n")}
  let v = vec4f(x[i]);
  out[i] = out_t(${unaryOps[op]});`,
    }),
  };
}

const binaryOps: Readonly<Record<BinaryOp, string>> = {
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
  lerp: "u + p.p0 * (v - u)",
};

/** `out` may share its memory with `a` or `b`. */
export function binary({ op, a, aWalk, b, bWalk, out, outer, inner, p0 }: Calls["binary"]): Dispatch {
  const isLine = (walk: Walk) => walk.inner === 1 && (outer === 1 || walk.outer === inner);
  const isFlat = isLine(aWalk) && isLine(bWalk);
  const width = isFlat || inner % 4 === 0 ? 4 : 1;
  const columns = inner / width, n = ceil(outer * inner, width);
  const type = (walk: Walk) => width === 4 && (isFlat || walk.inner === 1) ? "vec4f" : "f32";
  /** Element i of an operand. */
  const element = (name: string, walk: Walk): string => {
    if (isFlat) return `vec4f(${name}[i])`;
    const row = div("i", columns), column = mod("i", columns);
    if (walk.inner === 0) return `vec4f(f32(${name}[${row} * ${walk.outer}u]))`;
    const at = `${name}[${row} * ${walk.outer / width}u + ${column}]`;
    return width === 4 ? `vec4f(${at})` : `vec4f(f32(${at}))`;
  };
  // a buffer cannot be bound for reading and for writing in one dispatch, so such an operand is read from `out`
  const operands = [["a", a, aWalk] as const, ["b", b, bWalk] as const].map(([name, slot, walk]) => ({
    name: slot.buffer === out.buffer ? "out" : name,
    slot,
    walk,
  }));
  const inputs = operands.filter(({ name }) => name !== "out");
  const places = operands.map(({ name }) => name).join(" ");
  const walks = isFlat ? "" : ` ${inner}: ${[aWalk, bWalk].map((w) => `${w.outer} ${w.inner}`).join(", ")}`;
  return {
    name: `${op} ${places}${walks}`,
    operands: [...inputs.map(({ slot }) => slot), out],
    groups: groupsOf(n),
    params: { n, p0 },
    source: () => {
      const [u, v] = operands.map(({ name, walk }) => element(name, walk));
      return {
        inputs: Object.fromEntries(inputs.map(({ name, walk }) => [name, type(walk)])),
        outputs: { out: width === 4 ? "vec4f" : "f32" },
        params: { n: "u32", p0: "f32" },
        threads: THREADS,
        globals: op === "swishGrad" ? mathematics : "",
        body: `${each("p.n")}
  let u = ${u};
  let v = ${v};
  out[i] = out_t((${binaryOps[op]})${width === 4 ? "" : ".x"});`,
      };
    },
  };
}
