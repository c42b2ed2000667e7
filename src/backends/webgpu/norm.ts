// Group normalisation (Wu & He 2018) with swish folded in, and its gradient. Statistics: mean and squared deviations of
// each channel over a chunk of pixels, then combined (Chan et al. 1983), so that nothing cancels.
import type { Buffer, NormSpec } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import type { Gpu } from "./gpu.ts";
import { columnTiles, sumDown } from "./reduce.ts";
import { div, float, mathematics, mod, sum, THREADS, u32s, workgroupReduce } from "./wgsl.ts";

/** Pixels that a row of threads of a workgroup adds up at least, and chunks of a picture at most. */
const STEPS = 8, CHUNKS = 256;
/** Threads that combine the chunks of a group at most. */
const COMBINERS = 64;

/** What all kernels of one shape share. */
function plan({ team }: Gpu, { batch, pixels, channels, groups, swish, eps }: NormSpec) {
  const lanes = channels % 4 === 0 ? 4 : 1;
  const columns = channels / lanes; // vectors of a pixel
  const width = channels / groups; // channels of a group
  const isEven = width % 4 === 0 || lanes === 1; // channels of a vector are of one group
  const { across, down, blocks } = columnTiles(columns, team);
  const chunk = Math.max(down * STEPS, Math.ceil(pixels / CHUNKS));
  const chunks = Math.ceil(pixels / chunk);
  const type = lanes === 4 ? "vec4f" : "f32";
  /** A vector of a row of numbers, four times the same where vectors are one number. */
  const wide = (e: string) => lanes === 4 ? `vec4f(${e})` : `vec4f(f32(${e}))`;
  /** And back. */
  const narrow = (e: string) => lanes === 4 ? e : `(${e}).x`;
  /** Number `which` of the pair that each channel's group has in `pairs` [batch, groups, 2]. */
  const ofGroup = (pairs: string, which: 0 | 1, { count, ofChannel }: Groups) => {
    const at = (lane: number) => {
      const channel = lanes === 1 ? "column" : `(column * 4u + ${lane}u)`;
      return `${pairs}[(sample * ${count} + ${ofChannel(channel)}) * 2u + ${which}u]`;
    };
    return isEven ? `vec4f(${at(0)})` : `vec4f(${[0, 1, 2, 3].map(at).join(", ")})`;
  };
  /** Statements that know t's parts: the normalised x and the value before swish. */
  const normalise = (x: string, of: Groups) =>
    `let inverse = ${ofGroup("stats", 1, of)};
  let scale = ${wide("weight[column]")} * inverse;
  let shift = ${wide("bias[column]")};
  let mean = ${ofGroup("stats", 0, of)};
  ${x}`;
  const known: Groups = { count: `${groups}u`, ofChannel: (channel) => div(channel, width) };
  const name = `${pixels} x ${channels} / ${groups}${swish ? " swish" : ""}`;
  return {
    batch,
    pixels,
    channels,
    groups,
    swish,
    eps,
    lanes,
    columns,
    width,
    team,
    combiners: Math.min(COMBINERS, team),
    across,
    down,
    blocks,
    chunk,
    chunks,
    type,
    wide,
    narrow,
    isEven,
    known,
    ofGroup,
    normalise,
    name,
  };
}
type Plan = ReturnType<typeof plan>;

/** How many groups there are, and which is that of a channel: texts. */
interface Groups {
  readonly count: string;
  readonly ofChannel: (channel: string) => string;
}
const told: Groups = { count: "p.count", ofChannel: (channel) => `${channel} / p.width` };

/** What the kernels that go through chunks are told: their texts are long, and would be compiled for each shape. */
function numbersOf({ batch, pixels, groups, columns, width, blocks, chunk, chunks }: Plan) {
  return { groups: batch * chunks * blocks, count: groups, pixels, columns, width, blocks, chunk, chunks };
}

/** Where a workgroup of (sample, chunk, block of columns) stands; `row` goes through its pixels. */
const chunkOf = (s: Plan) =>
  `  if (group >= p.groups) { return; }
  let sample = group / (p.blocks * p.chunks);
  let number = group / p.blocks % p.chunks;
  let own = group % p.blocks * ${s.across}u + ${mod("lid", s.across)};
  let column = min(own, p.columns - 1u); // threads beyond the last column repeat its work
  let first = number * p.chunk;
  let count = min(p.chunk, p.pixels - first);
  let base = (sample * p.pixels + first) * p.columns + column;
  let to = (sample * p.chunks + number) * 2u * p.columns + column;
  let writes = lid < ${s.across}u && own < p.columns;`;

const eachRow = (s: Plan, body: string) =>
  `for (var row = ${div("lid", s.across)}; row < count; row += ${s.down}u) {
    let at = base + row * p.columns;
    ${body}
  }`;

/** Writes stats [batch, groups, 2]: mean and 1 / sqrt(variance + eps). */
function statistics(gpu: Gpu, s: Plan, x: Buffer, stats: Buffer): void {
  const numbers = numbersOf(s);
  const chunk = gpu.kernel(`normChunk ${s.type} by ${s.across}`, () => ({
    inputs: { x: s.type },
    outputs: { partial: s.type },
    params: u32s(numbers),
    threads: s.team,
    globals: `var<workgroup> slots: array<${s.type}, ${s.team}>;`,
    body: `${chunkOf(s)}
  var mine = ${s.type}();
  ${eachRow(s, `mine += ${s.type}(x[at]);`)}
  slots[lid] = mine;
  ${sumDown("slots", s.across, s.team)}
  let mean = slots[${mod("lid", s.across)}] / f32(count);
  workgroupBarrier();
  mine = ${s.type}();
  ${eachRow(s, `let d = ${s.type}(x[at]) - mean;\n    mine = fma(d, d, mine);`)}
  slots[lid] = mine;
  ${sumDown("slots", s.across, s.team)}
  if (writes) {
    partial[to] = mean;
    partial[to + p.columns] = slots[lid];
  }`,
  }));
  const finish = gpu.kernel(`normFinish ${s.pixels} x ${s.channels} / ${s.groups}: ${s.eps}`, () => {
    const eachPart = (body: string) =>
      `for (var i = lid; i < ${s.chunks * s.width}u; i += ${s.combiners}u) {
    let number = ${div("i", s.width)};
    let at = base + number * ${2 * s.channels}u + ${mod("i", s.width)};
    let count = f32(min(${s.chunk}u, ${s.pixels}u - number * ${s.chunk}u));
    ${body}
  }`;
    const total = float(1 / (s.pixels * s.width));
    return {
      inputs: { partial: "f32" },
      outputs: { stats: "f32" },
      params: { groups: "u32" },
      threads: s.combiners,
      globals: workgroupReduce("total", "f32", s.combiners, sum),
      body: `  if (group >= p.groups) { return; }
  let sample = ${div("group", s.groups)};
  let base = sample * ${s.chunks * 2 * s.channels}u + ${mod("group", s.groups)} * ${s.width}u;
  var mine = 0.0;
  ${eachPart("mine = fma(count, partial[at], mine);")}
  let mean = total(mine, lid) * ${total};
  mine = 0.0;
  ${eachPart(`let d = partial[at] - mean;\n    mine += fma(count * d, d, partial[at + ${s.channels}u]);`)}
  let variance = total(mine, lid) * ${total};
  if (lid == 0u) {
    stats[2u * group] = mean;
    stats[2u * group + 1u] = 1.0 / sqrt(variance + ${float(s.eps)});
  }`,
    };
  });
  gpu.with(s.batch * s.chunks * 2 * s.channels * 4, (partial) => {
    gpu.run(chunk, [x, partial], numbers.groups, numbers);
    gpu.run(finish, [partial, stats], s.batch * s.groups, { groups: s.batch * s.groups });
  });
}

/** Where thread i of an elementwise kernel stands. */
const elementOf = (s: Plan) =>
  `${each("p.n")}
  let column = ${mod("i", s.columns)};
  let sample = ${div("i", s.pixels * s.columns)};`;

function apply(
  gpu: Gpu,
  s: Plan,
  x: Buffer,
  weight: Buffer,
  bias: Buffer,
  stats: Buffer,
  out: Buffer,
): void {
  const kernel = gpu.kernel(`normApply ${s.name}`, () => ({
    inputs: { x: s.type, weight: s.type, bias: s.type, stats: "f32" },
    outputs: { out: s.type },
    params: { n: "u32" },
    threads: THREADS,
    globals: mathematics,
    body: `${elementOf(s)}
  ${s.normalise(`let t = fma(${s.wide("x[i]")} - mean, scale, shift);`, s.known)}
  out[i] = out_t(${s.narrow(s.swish ? "t * sigmoid4(t)" : "t")});`,
  }));
  const n = s.batch * s.pixels * s.columns;
  gpu.run(kernel, [x, weight, bias, stats, out], groupsOf(n), { n });
}

export function groupNorm(
  gpu: Gpu,
  x: Buffer,
  weight: Buffer,
  bias: Buffer,
  out: Buffer,
  stats: Buffer,
  spec: NormSpec,
): void {
  const s = plan(gpu, spec);
  statistics(gpu, s, x, stats);
  apply(gpu, s, x, weight, bias, stats, out);
}

export function groupNormStats(gpu: Gpu, x: Buffer, stats: Buffer, spec: NormSpec): void {
  statistics(gpu, plan(gpu, spec), x, stats);
}

export function groupNormApply(
  gpu: Gpu,
  x: Buffer,
  weight: Buffer,
  bias: Buffer,
  stats: Buffer,
  out: Buffer,
  spec: NormSpec,
): void {
  apply(gpu, plan(gpu, spec), x, weight, bias, stats, out);
}

/** dx = (weight dt - mean(weight dt) - xhat mean(weight dt xhat)) / sigma, where dt = g, or g swish'(t). */
export function groupNormGrad(
  gpu: Gpu,
  x: Buffer,
  weight: Buffer,
  bias: Buffer,
  stats: Buffer,
  g: Buffer,
  out: { x: Buffer; weight: Buffer; bias: Buffer },
  spec: NormSpec,
): void {
  const s = plan(gpu, spec);
  const inputs = { x: s.type, weight: s.type, bias: s.type, stats: "f32", g: s.type };
  const beforeSwish = (at: string) =>
    `let centred = ${s.wide(`x[${at}]`)} - mean;
    let dt = ${s.wide(`g[${at}]`)}${s.swish ? " * swishGrad4(fma(centred, scale, shift))" : ""};`;
  const numbers = numbersOf(s);
  const text = [s.type, s.swish ? "swish" : "", s.isEven ? "even" : ""].join(" ");
  const chunk = gpu.kernel(`normGradChunk ${text} by ${s.across}`, () => ({
    inputs,
    outputs: { partial: s.type },
    params: u32s(numbers),
    threads: s.team,
    globals: `${mathematics}\n${
      ["sums", "dots"].map((slots) => `var<workgroup> ${slots}: array<${s.type}, ${s.team}>;`).join("\n")
    }`,
    body: `${chunkOf(s)}
  ${s.normalise("var mine = vec4f();\n  var dot = vec4f();", told)}
  ${eachRow(s, `${beforeSwish("at")}\n    mine += dt;\n    dot = fma(dt, centred * inverse, dot);`)}
  sums[lid] = ${s.narrow("mine")};
  dots[lid] = ${s.narrow("dot")};
  ${sumDown("sums", s.across, s.team)}
  ${sumDown("dots", s.across, s.team)}
  if (writes) {
    partial[to] = sums[lid];
    partial[to + p.columns] = dots[lid];
  }`,
  }));
  // per sample and channel the sums over chunks, and their weighted means over the group
  const finish = gpu.kernel(`normGradFinish ${s.pixels} x ${s.channels} / ${s.groups}`, () => ({
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
  }));
  const parameters = gpu.kernel(`normGradParameters ${s.channels}`, () => ({
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
  }));
  const input = gpu.kernel(`normGradInput ${s.name}`, () => ({
    inputs: { ...inputs, means: "f32" },
    outputs: { out: s.type },
    params: { n: "u32" },
    threads: THREADS,
    globals: mathematics,
    body: `${elementOf(s)}
  ${s.normalise(beforeSwish("i"), s.known)}
  let rest = fma(centred * inverse, ${s.ofGroup("means", 1, s.known)}, ${s.ofGroup("means", 0, s.known)});
  out[i] = out_t(${s.narrow("scale * dt - inverse * rest")});`,
  }));
  gpu.with(s.batch * s.channels * 8, (sums) =>
    gpu.with(s.batch * s.groups * 8, (means) => {
      gpu.with(s.batch * s.chunks * s.channels * 8, (partial) => {
        gpu.run(chunk, [x, weight, bias, stats, g, partial], numbers.groups, numbers);
        gpu.run(finish, [partial, weight, sums, means], s.batch * s.groups, { groups: s.batch * s.groups });
      });
      gpu.run(parameters, [sums, out.weight, out.bias], groupsOf(s.channels), { batch: s.batch });
      const n = s.batch * s.pixels * s.columns;
      gpu.run(input, [x, weight, bias, stats, g, means, out.x], groupsOf(n), { n });
    }));
}
