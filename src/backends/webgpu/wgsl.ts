// Pieces of WGSL: declarations around a kernel's body, divisions by known numbers, mathematics, sums of a workgroup.

/** A kernel as its author writes it; `shader` adds the declarations. Outputs are written, inputs only read. */
export interface Source {
  /**
   * Storage buffers in order of binding: name and element type. Where a buffer holds f16, its f32 and vec4f become f16 and
   * vec4h: to work with both, a load says `f32(x[i])` or `vec4f(x[i])`, and a store to `out` converts by `out_t(...)`.
   */
  readonly inputs: Readonly<Record<string, string>>;
  readonly outputs: Readonly<Record<string, string>>;
  /**
   * Numbers that change from call to call, read as `p.name`. Long texts are told their shapes here, as compiling them for
   * each takes longer than many steps; short ones have shapes in the text, and divide by what is known.
   */
  readonly params?: Readonly<Record<string, "u32" | "f32">>;
  /** Threads of a workgroup. */
  readonly threads: number;
  /** Extensions of WGSL beside f16; with "subgroups" the body knows `lanes`, the threads of a subgroup. */
  readonly extensions?: readonly string[];
  /** Functions and workgroup memory. */
  readonly globals?: string;
  /** Statements that know `group`, the number of the workgroup, and `lid`, that of the thread within it. */
  readonly body: string;
}

/** Threads of elementwise kernels and of those that work on rows. */
export const THREADS = 256;

const halves: Readonly<Record<string, string>> = { f32: "f16", vec4f: "vec4h" };

/** The whole text. @param isHalf which buffers hold f16, in order of binding */
export function shader(source: Source, isHalf: readonly boolean[]): string {
  const { inputs, outputs, params, threads, globals = "", body, extensions = [] } = source;
  let binding = 0;
  const declare = (space: string, entries: Readonly<Record<string, string>>) =>
    Object.entries(entries).flatMap(([name, type]) => {
      const stored = isHalf[binding] ? halves[type] ?? type : type;
      return [
        `alias ${name}_t = ${stored};`,
        `@group(0) @binding(${binding++}) var<${space}> ${name}: array<${name}_t>;`,
      ];
    });
  const lines = [...declare("storage, read", inputs), ...declare("storage, read_write", outputs)];
  const enabled = isHalf.includes(true) ? ["f16", ...extensions] : extensions;
  lines.unshift(...enabled.map((name) => `enable ${name};`));
  if (params) {
    const fields = Object.entries(params).map(([name, type]) => `${name}: ${type}`).join(", ");
    lines.push(`struct Params { ${fields} }`, `@group(0) @binding(${binding}) var<uniform> p: Params;`);
  }
  return `${lines.join("\n")}
${globals}
@compute @workgroup_size(${threads})
fn main(@builtin(workgroup_id) wid: vec3u, @builtin(num_workgroups) grid: vec3u,
        @builtin(local_invocation_index) lid: u32${
    extensions.includes("subgroups") ? ", @builtin(subgroup_size) lanes: u32" : ""
  }) {
  let group = wid.y * grid.x + wid.x;
${body}
}`;
}

/** Params that are all whole numbers. */
export function u32s(names: Readonly<Record<string, number>>): Record<string, "u32"> {
  return Object.fromEntries(Object.keys(names).map((name) => [name, "u32"]));
}

const isPowerOfTwo = (n: number) => n > 0 && (n & (n - 1)) === 0;

/** e / n for a known n; a shift where n is a power of two. */
export function div(e: string, n: number): string {
  if (n === 1) return `(${e})`;
  return isPowerOfTwo(n) ? `((${e}) >> ${Math.log2(n)}u)` : `((${e}) / ${n}u)`;
}

/** e % n for a known n. */
export function mod(e: string, n: number): string {
  if (n === 1) return "0u";
  return isPowerOfTwo(n) ? `((${e}) & ${n - 1}u)` : `((${e}) % ${n}u)`;
}

/** Text for each number below n, one a line. */
export function repeat(n: number, text: (i: number) => string): string {
  return Array.from({ length: n }, (_, i) => text(i)).join("\n");
}

/** A float as WGSL writes it. */
export function float(x: number): string {
  const text = String(Math.fround(x));
  return /[.e]/.test(text) ? `${text}f` : `${text}.0f`;
}

const polynomial = (x: string, coefficients: readonly number[]) =>
  coefficients.slice(1).reduce(
    (sum, c) => `fma(${sum}, ${x}, vec4f(${float(c)}))`,
    `vec4f(${float(coefficients[0])})`,
  );

/**
 * exp, log, tanh, sigmoid, softplus of four numbers, by the Cephes library's polynomials (Moshier): WGSL's own may err
 * by several units in the last place, and some drivers' tanh(100) is NaN.
 */
export const mathematics = `
fn exp4(x: vec4f) -> vec4f {
  let bounded = clamp(x, vec4f(-87.3), vec4f(88.8));
  let n = vec4i(round(bounded * ${float(Math.LOG2E)}));
  // ln 2 = 355/512 - 2.1e-4; the first product in integers, lest the driver (Mesa) joins both and loses digits
  let r = fma(vec4f(n), vec4f(2.12194440e-4), bounded - vec4f(n * 355) / 512.0);
  let q = ${
  polynomial("r", [
    1.9875691500e-4,
    1.3981999507e-3,
    8.3334519073e-3,
    4.1665795894e-2,
    1.6666665459e-1,
    5.0000001201e-1,
  ])
};
  let power = bitcast<vec4f>((n + 127) << vec4u(23u));
  // the clamp loses NaN
  return select(fma(r * r, q, r + 1.0) * power, x, x != x);
}
fn sigmoid4(x: vec4f) -> vec4f { return 1.0 / (1.0 + exp4(-x)); }
fn log4(x: vec4f) -> vec4f {
  let bits = bitcast<vec4i>(x);
  let m0 = bitcast<vec4f>((bits & vec4i(0x007fffff)) | vec4i(0x3f800000));
  let big = m0 > vec4f(${float(Math.SQRT2)});
  let e = vec4f((bits >> vec4u(23u)) - 127) + select(vec4f(), vec4f(1.0), big);
  let r = select(m0, m0 * 0.5, big) - 1.0;
  let r2 = r * r;
  let q = ${
  polynomial("r", [
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
  ])
};
  let small = fma(r2, vec4f(-0.5), fma(e, vec4f(-2.12194440e-4), q * r * r2));
  let value = fma(e, vec4f(0.693359375), r + small);
  var special = vec4u(0x7fc00000u, 0xff800000u, 0u, 0u); // NaN and -Infinity, which WGSL has no words for
  let far = bitcast<vec4f>(special);
  return select(select(value, vec4f(far.y), x == vec4f()), vec4f(far.x), (x < vec4f()) | (x != x));
}
fn tanh4(x: vec4f) -> vec4f {
  let z = x * x;
  let near = fma(x * z, ${
  polynomial("z", [
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
  ])
}, x);
  return select(1.0 - 2.0 / (exp4(x + x) + 1.0), near, abs(x) < vec4f(0.625));
}
fn softplus4(x: vec4f) -> vec4f { return max(x, vec4f()) + log4(1.0 + exp4(-abs(x))); }
fn swishGrad4(x: vec4f) -> vec4f {
  let s = sigmoid4(x);
  return s * fma(x, 1.0 - s, vec4f(1.0));
}`;

/** A function that combines one value a thread over the workgroup, in a fixed tree; all threads get the result. */
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

export const sum = (a: string, b: string) => `${a} + ${b}`;
export const largest = (a: string, b: string) => `max(${a}, ${b})`;
