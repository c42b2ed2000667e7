// The kernels of group normalisation (Wu & He 2018), followed by swish if it is asked for. The mean and the squared deviations
// of each channel are computed over chunks of pixels, which are then combined (Chan et al. 1983), so that no digits cancel.
import type { Slot } from "../../buffer.ts";
import type { Calls, NormSpec } from "../../kernels.ts";
import { mathematics } from "./mathematics.ts";
import { columnTiles, sumDown } from "./reduce.ts";
import { type Dispatch, u32s } from "./source.ts";
import { ceil, div, each, float, groupsOf, mod, sum, THREADS, workgroupReduce } from "./wgsl.ts";

/** The least number of pixels that one row of a workgroup's threads adds up, and the most chunks per picture. */
const STEPS = 8, CHUNKS = 256;
/** The most threads that combine the chunks of a group. */
const COMBINERS = 64;

/** Two texts of WGSL: the number of groups, and the group of a channel. */
interface Groups {
  readonly count: string;
  readonly ofChannel: (channel: string) => string;
}
/** Groups by params of the call. */
export const fromParams: Groups = { count: "p.count", ofChannel: (channel) => `${channel} / p.width` };

/** What the kernels of one shape share. */
export type Plan = ReturnType<typeof planOf>;

/** @param team the number of threads that add up a sum together */
export function planOf(team: number, spec: NormSpec) {
  const { pixels, channels, groups, swish } = spec;
  const lanes = channels % 4 === 0 ? 4 : 1, type = lanes === 4 ? "vec4f" : "f32";
  /** The vectors per pixel, and the channels per group. */
  const columns = channels / lanes, width = channels / groups;
  /** Whether all channels of a vector are in one group. */
  const isEven = width % 4 === 0 || lanes === 1;
  const { across, down, blocks } = columnTiles(columns, team);
  const chunk = Math.max(down * STEPS, ceil(pixels, CHUNKS));
  /** A vector of four from an element. An element that is a single number is repeated four times. */
  const wide = (e: string) => lanes === 4 ? `vec4f(${e})` : `vec4f(f32(${e}))`;
  /** The reverse: the vector, or its first number, to be stored. */
  const narrow = (e: string) => lanes === 4 ? e : `(${e}).x`;
  /** For each channel, number `which` of the pair that its group has in `pairs` [batch, groups, 2]. */
  const ofGroup = (pairs: string, which: 0 | 1, { count, ofChannel }: Groups) => {
    const at = (lane: number) => {
      const channel = lanes === 1 ? "column" : `(column * 4u + ${lane}u)`;
      return `${pairs}[(sample * ${count} + ${ofChannel(channel)}) * 2u + ${which}u]`;
    };
    return isEven ? `vec4f(${at(0)})` : `vec4f(${[0, 1, 2, 3].map(at).join(", ")})`;
  };
  /** Declares what the statements `use` need to normalise: `mean`, `inverse`, `scale` and `shift`. */
  const normalise = (use: string, of: Groups) =>
    `let inverse = ${ofGroup("stats", 1, of)};
  let scale = ${wide("weight[column]")} * inverse;
  let shift = ${wide("bias[column]")};
  let mean = ${ofGroup("stats", 0, of)};
  ${use}`;
  const constant: Groups = { count: `${groups}u`, ofChannel: (channel) => div(channel, width) };
  return {
    ...spec,
    team,
    type,
    columns,
    width,
    isEven,
    across,
    down,
    blocks,
    chunk,
    chunks: ceil(pixels, chunk),
    combiners: Math.min(COMBINERS, team),
    wide,
    narrow,
    ofGroup,
    normalise,
    /** Groups by constants in the text. */
    constant,
    name: `${pixels} x ${channels} / ${groups}${swish ? " swish" : ""}`,
  };
}

/**
 * The params of the kernels that go through chunks. Their texts are long, and with shapes in the text they would be compiled
 * again for each shape.
 */
export function numbersOf({ batch, pixels, groups, columns, width, blocks, chunk, chunks }: Plan) {
  return { groups: batch * chunks * blocks, count: groups, pixels, columns, width, blocks, chunk, chunks };
}

/** Declares the sample, the chunk and the block of columns of a workgroup. */
export const chunkOf = (s: Plan): string =>
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

export const eachRow = (s: Plan, body: string): string =>
  `for (var row = ${div("lid", s.across)}; row < count; row += ${s.down}u) {
    let at = base + row * p.columns;
    ${body}
  }`;

/** Mean and squared deviations of each channel over each chunk: partial is [batch, chunks, 2, channels]. */
export function chunkStats(s: Plan, x: Slot, partial: Slot): Dispatch {
  const params = numbersOf(s);
  return {
    name: `normChunk ${s.type} by ${s.across}`,
    operands: [x, partial],
    groups: params.groups,
    params,
    source: () => ({
      inputs: { x: s.type },
      outputs: { partial: s.type },
      params: u32s(params),
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
    }),
  };
}

/** Combines the chunks: stats [batch, groups, 2] are mean and 1 / sqrt(variance + eps). */
export function combineStats(s: Plan, partial: Slot, stats: Slot): Dispatch {
  const groups = s.batch * s.groups;
  return {
    name: `normFinish ${s.pixels} x ${s.channels} / ${s.groups}: ${s.eps}`,
    operands: [partial, stats],
    groups,
    params: { groups },
    source: () => {
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
    },
  };
}

/** Declares the element of thread i of an elementwise kernel. */
export const elementOf = (s: Plan): string =>
  `${each("p.n")}
  let column = ${mod("i", s.columns)};
  let sample = ${div("i", s.pixels * s.columns)};`;

export const elementsOf = (s: Plan): number => s.batch * s.pixels * s.columns;

/** Computes the output from the statistics. */
export function applyNorm(s: Plan, { x, weight, bias, stats, out }: Calls["groupNormApply"]): Dispatch {
  const n = elementsOf(s);
  return {
    name: `normApply ${s.name}`,
    operands: [x, weight, bias, stats, out],
    groups: groupsOf(n),
    params: { n },
    source: () => ({
      inputs: { x: s.type, weight: s.type, bias: s.type, stats: "f32" },
      outputs: { out: s.type },
      params: { n: "u32" },
      threads: THREADS,
      globals: mathematics,
      body: `${elementOf(s)}
  ${s.normalise(`let t = fma(${s.wide("x[i]")} - mean, scale, shift);`, s.constant)}
  out[i] = out_t(${s.narrow(s.swish ? "t * sigmoid4(t)" : "t")});`,
    }),
  };
}
