// The WGSL of the matrix product that convolutions, `matmul` and the search for codes are based on: how the threads of a
// workgroup compute a tile. Each kind of tile has a loop of its own.
import { matrixExtensions, matrixMemory } from "./subgroup_matrix.ts";
import {
  eachSum,
  eachTap,
  loadsOf,
  type Madd,
  QUADS,
  rowOf,
  type Rows,
  threadsAcross,
  threadsOf,
  type Tile,
} from "./tile.ts";
import { ceil, div, mod, repeat } from "./wgsl.ts";

/** The extensions of WGSL that the tile's text uses. */
export function extensionsOf({ kind }: Tile): readonly string[] {
  return kind === "matrix" ? matrixExtensions : kind === "quad" ? ["subgroups"] : [];
}

/** The workgroup memory that `tileProduct` uses. */
export function tileMemory(tile: Tile): string {
  if (tile.kind === "matrix") return matrixMemory(tile.columns, false);
  if (tile.kind !== "shared") return "";
  return `var<workgroup> aTile: array<vec4f, ${tile.rows * QUADS}>;
var<workgroup> bTile: array<vec4f, ${tile.columns * QUADS}>;`;
}

/**
 * Computes a thread's sums in the tile at (`rowTile`, `columnTile`). For tiles of matrices see `matrixProduct`.
 * @param vectors the number of vectors in a row of `b`, as text
 */
export function tileProduct(tile: Tile, rows: Rows, vectors: string, madd: Madd): string {
  const loop = tile.kind === "quad" ? quadLoop : tile.kind === "direct" ? directLoop : sharedLoop;
  return `${eachSum(tile, (i, c) => `  var acc${i}_${c} = vec4f();`)}
${eachTap(tile, rows, loop(tile, vectors, madd))}`;
}

const load = (j: number, channel: string) => `select(vec4f(), vec4f(a[at${j} + ${channel}]), has${j})`;

/** The loop over vectors of `a`. Each is multiplied by four rows of `b`, which begin at `place`. */
function eachVector(tile: Tile, vectors: string, body: string): string {
  return `  var place = (base + first) * 4u * ${vectors} + columnTile * ${tile.columns / 4}u + tx;
  for (var channel = first; channel < last; channel++) {
${body}
    place += 4u * ${vectors};
  }`;
}

/** Loads vector c of the e-th of these rows. */
const loadB = (tile: Tile, vectors: string, e: number, c: number) =>
  `vec4f(b[place + ${e}u * ${vectors} + ${c * threadsAcross(tile)}u])`;

function directLoop(tile: Tile, vectors: string, madd: Madd): string {
  const multiply = (e: number) => {
    const sum = (i: number, c: number) => madd(`acc${i}_${c}`, `a${i}.${"xyzw"[e]}`, `b${c}`);
    return `    {
${repeat(tile.vectors, (c) => `    let b${c} = ${loadB(tile, vectors, e, c)};`)}
${eachSum(tile, (i, c) => `    acc${i}_${c} = ${sum(i, c)};`)}
    }`;
  };
  const loads = repeat(tile.perThread, (i) => `    let a${i} = ${load(i, "channel")};`);
  return eachVector(tile, vectors, `${loads}\n${repeat(4, multiply)}`);
}

/** Each sum is read and written once for four products, which saves time if the sums do not fit into registers. */
function quadLoop(tile: Tile, vectors: string, madd: Madd): string {
  const multiply = (i: number) => {
    const sum = (c: number) =>
      ["x", "y", "z", "w"].reduce((sum, e, k) => madd(sum, `a.${e}`, `b${k}_${c}`), `acc${i}_${c}`);
    return `    { let a = quadBroadcast(four${i >> 2}, ${i & 3}u);
${repeat(tile.vectors, (c) => `    acc${i}_${c} = ${sum(c)};`)} }`;
  };
  const loads = [
    repeat(4, (e) => repeat(tile.vectors, (c) => `    let b${e}_${c} = ${loadB(tile, vectors, e, c)};`)),
    repeat(loadsOf(tile), (j) => `    let four${j} = ${load(j, "channel")};`),
  ];
  return eachVector(tile, vectors, [...loads, repeat(tile.perThread, multiply)].join("\n"));
}

/** The factors of the next step are loaded while those of this step are multiplied. */
function sharedLoop(tile: Tile, vectors: string, madd: Madd): string {
  const threads = threadsOf(tile), across = tile.columns / 4, all = tile.columns * QUADS;
  const loadsA = loadsOf(tile), loadsB = ceil(all, threads);
  const place = (j: number) => `lid + ${j * threads}u`;
  const ask = (channel: string) => {
    const b = (j: number) =>
      `b[((base + ${channel}) * 4u + ${div(`(${place(j)})`, across)}) * ${vectors} + ` +
      `columnTile * ${across}u + ${mod(`(${place(j)})`, across)}]`;
    return `${repeat(loadsA, (j) => `    nextA${j} = ${load(j, `${channel} + lane`)};`)}
${repeat(loadsB, (j) => `    nextB${j} = vec4f(${b(j)});`)}`;
  };
  const storeB = (j: number) => {
    const text = `bTile[${place(j)}] = nextB${j};`;
    return (j + 1) * threads > all ? `    if (${place(j)} < ${all}u) { ${text} }` : `    ${text}`;
  };
  const multiply = (quad: number) => {
    const b = (e: number, c: number) =>
      `    let b${e}_${c} = bTile[${(4 * quad + e) * across + c * threadsAcross(tile)}u + tx];`;
    const sum = (i: number, c: number) =>
      ["x", "y", "z", "w"].reduce((sum, e, k) => madd(sum, `a.${e}`, `b${k}_${c}`), `acc${i}_${c}`);
    const row = (i: number) =>
      `    { let a = aTile[(${rowOf(tile, i)}) * ${QUADS}u + ${quad}u];
${repeat(tile.vectors, (c) => `    acc${i}_${c} = ${sum(i, c)};`)} }`;
    return `    {
${repeat(4, (e) => repeat(tile.vectors, (c) => b(e, c)))}
${repeat(tile.perThread, row)}
    }`;
  };
  return `${repeat(loadsA, (j) => `    var nextA${j} = vec4f();`)}
${repeat(loadsB, (j) => `    var nextB${j} = vec4f();`)}
${ask("first")}
  for (var channel = first; channel < last; channel += ${QUADS}u) {
    workgroupBarrier();
${repeat(loadsA, (j) => `    aTile[${place(j)}] = nextA${j};`)}
${repeat(loadsB, storeB)}
    workgroupBarrier();
    let next = min(channel + ${QUADS}u, last - ${QUADS}u);
${ask("next")}
${repeat(QUADS, multiply)}
  }`;
}
