// The kernels of group normalisation's gradient:
// dx = (weight dt - mean(weight dt) - xhat mean(weight dt xhat)) / sigma, where dt = g, or g swish'(t).
import type { Slot } from "../../buffer.ts";
import type { Calls } from "../../kernels.ts";
import { mathematics } from "./mathematics.ts";
import { chunkOf, eachRow, elementOf, elementsOf, fromParams, numbersOf, type Plan } from "./norm.ts";
import { sumDown } from "./reduce.ts";
import { type Dispatch, u32s } from "./source.ts";
import { div, each, float, groupsOf, mod, THREADS } from "./wgsl.ts";

type Call = Calls["groupNormGrad"];

/** The beginning of both gradient kernels that read x and g: x minus its mean, and the gradient before swish. */
const beforeSwish = (s: Plan, at: string) =>
  `let centred = ${s.wide(`x[${at}]`)} - mean;
    let dt = ${s.wide(`g[${at}]`)}${s.swish ? " * swishGrad4(fma(centred, scale, shift))" : ""};`;

const gradInputs = ({ type }: Plan) => ({ x: type, weight: type, bias: type, stats: "f32", g: type });

/** Sums of dt and of dt xhat over each chunk: partial is [batch, chunks, 2, channels]. */
export function chunkGradSums(s: Plan, { x, weight, bias, stats, g }: Call, partial: Slot): Dispatch {
  const params = numbersOf(s);
  const kind = [s.type, s.swish ? "swish" : "", s.isEven ? "even" : ""].join(" ");
  return {
    name: `normGradChunk ${kind} by ${s.across}`,
    operands: [x, weight, bias, stats, g, partial],
    groups: params.groups,
    params,
    source: () => ({
      inputs: gradInputs(s),
      outputs: { partial: s.type },
      params: u32s(params),
      threads: s.team,
      globals: `${mathematics}\n${
        ["sums", "dots"].map((slots) => `var<workgroup> ${slots}: array<${s.type}, ${s.team}>;`).join("\n")
      }`,
      body: `${chunkOf(s)}
  ${s.normalise("var mine = vec4f();\n  var dot = vec4f();", fromParams)}
  ${eachRow(s, `${beforeSwish(s, "at")}\n    mine += dt;\n    dot = fma(dt, centred * inverse, dot);`)}
  sums[lid] = ${s.narrow("mine")};
  dots[lid] = ${s.narrow("dot")};
  ${sumDown("sums", s.across, s.team)}
  ${sumDown("dots", s.across, s.team)}
  if (writes) {
    partial[to] = sums[lid];
    partial[to + p.columns] = dots[lid];
  }`,
    }),
  };
}

/** Adds up the chunks to sums [batch, 2, channels], and averages them times weight over each group: means [batch, groups, 2]. */
export function combineGradSums(
  s: Plan,
  { weight }: Call,
  partial: Slot,
  sums: Slot,
  means: Slot,
): Dispatch {
  const groups = s.batch * s.groups;
  return {
    name: `normGradFinish ${s.pixels} x ${s.channels} / ${s.groups}`,
    operands: [partial, weight, sums, means],
    groups,
    params: { groups },
    source: () => ({
      inputs: { partial: "f32", weight: "f32" },
      outputs: { sums: "f32", means: "f32" },
      params: { groups: "u32" },
      threads: s.combiners,
      globals: `var<workgroup> weighted: array<f32, ${2 * s.width}>;`,
      body: `  if (group >= p.groups) { return; }
  let sample = ${div("group", s.groups)};
  let first = ${mod("group", s.groups)} * ${s.width}u;
  for (var i = lid; i < ${2 * s.width}u; i += ${s.combiners}u) {
    let c = first + ${mod("i", s.width)};
    let kind = ${div("i", s.width)} * ${s.channels}u;
    var total = 0.0;
    for (var number = 0u; number < ${s.chunks}u; number++) {
      total += partial[(sample * ${s.chunks}u + number) * ${2 * s.channels}u + kind + c];
    }
    sums[sample * ${2 * s.channels}u + kind + c] = total;
    weighted[i] = total * weight[c];
  }
  workgroupBarrier();
  if (lid < 2u) {
    var total = 0.0;
    for (var i = 0u; i < ${s.width}u; i++) { total += weighted[lid * ${s.width}u + i]; }
    means[2u * group + lid] = total * ${float(1 / (s.pixels * s.width))};
  }`,
    }),
  };
}

/** Computes the gradients of weight and bias from the sums. */
export function parameterGrads(s: Plan, sums: Slot, { weightGrad, biasGrad }: Call): Dispatch {
  return {
    name: `normGradParameters ${s.channels}`,
    operands: [sums, weightGrad, biasGrad],
    groups: groupsOf(s.channels),
    params: { batch: s.batch },
    source: () => ({
      inputs: { sums: "f32" },
      outputs: { weight: "f32", bias: "f32" },
      params: { batch: "u32" },
      threads: THREADS,
      body: `${each(`${s.channels}u`)}
  var total = vec2f();
  for (var sample = 0u; sample < p.batch; sample++) {
    let at = sample * ${2 * s.channels}u + i;
    total += vec2f(sums[at], sums[at + ${s.channels}u]);
  }
  bias[i] = total.x;
  weight[i] = total.y;`,
    }),
  };
}

/** Computes the gradient of x from the means. */
export function inputGrad(s: Plan, { x, weight, bias, stats, g, xGrad }: Call, means: Slot): Dispatch {
  const n = elementsOf(s);
  return {
    name: `normGradInput ${s.name}`,
    operands: [x, weight, bias, stats, g, means, xGrad],
    groups: groupsOf(n),
    params: { n },
    source: () => ({
      inputs: { ...gradInputs(s), means: "f32" },
      outputs: { out: s.type },
      params: { n: "u32" },
      threads: THREADS,
      globals: mathematics,
      body: `${elementOf(s)}
  ${s.normalise(beforeSwish(s, "i"), s.constant)}
  let rest = fma(centred * inverse, ${s.ofGroup("means", 1, s.constant)}, ${
        s.ofGroup("means", 0, s.constant)
      });
  out[i] = out_t(${s.narrow("scale * dt - inverse * rest")});`,
    }),
  };
}
