// Weight gradients: out [o, c, ky, kx] = sum over pixels of g[pixel, o] x[pixel at that tap, c], a product whose depth is
// the pixels. They are split among workgroups by the shape alone, and a second kernel adds the parts in order.
import type { Buffer, ConvSpec } from "../backend.ts";
import { each, groupsOf } from "./elementwise.ts";
import { ceil } from "./gemm.ts";
import { dtypeOf, type Gpu, ofGpu } from "./gpu.ts";
import { wholeVectors } from "./matmul.ts";
import { DEPTH, matrixTiling } from "./subgroup_matrix.ts";
import type { Trial } from "./tuner.ts";
import { LONGEST, partKernel, type Tile, tileName } from "./weight_gradient_kernel.ts";
import { isThin, thinParts, thinWeightGrad } from "./weight_gradient_thin.ts";
import { repeat, THREADS, u32s } from "./wgsl.ts";

const MIDDLE: Tile = { down: 16, across: 16, perThread: [1, 1], depth: 16 };
const HUGE: Tile = { down: 32, across: 32, perThread: [2, 2], depth: 8 };
const LARGE: Tile = { down: 16, across: 16, perThread: [2, 2], depth: 8 };
const SMALL: Tile = { down: 8, across: 8, perThread: [1, 1], depth: 16 };
const NARROW: Tile = { down: 64, across: 1, perThread: [1, 1], depth: 8 };

/** Those that may be best, the likeliest first (gemm.ts says why). @param rows vectors of both sides */
function tilesFor(gpu: Gpu, rows: number, columns: number, parts: number, isHalf: boolean): Tile[] {
  const { matrix } = gpu;
  if (matrix && isHalf && Math.min(rows, columns) > SMALL.across) {
    const { side, threads } = matrixTiling(matrix, 4 * rows * parts, 4 * columns), vectors = side / 4;
    return [{
      down: vectors,
      across: vectors,
      perThread: [vectors * vectors / threads, 1],
      depth: DEPTH,
      matrix,
    }];
  }
  const direct = directTile(gpu, columns);
  const shared = columns === 1 ? NARROW : Math.min(rows, columns) <= SMALL.across ? SMALL : MIDDLE;
  if (gpu.report.isSoftware) return [direct, shared];
  return shared === MIDDLE ? [MIDDLE, LARGE, HUGE] : [shared];
}

function directTile(gpu: Gpu, columns: number): Tile {
  const wide = columns > 2 ? 4 : columns, across = columns > 4 ? 16 : wide;
  const isQuad = gpu.hasQuads && across === 4 * wide;
  return { down: 16, across, perThread: [2, wide], depth: 0, isQuad };
}

/** Workgroups wanted, and pixels of a part at least. */
const MANY = 1024, MANY_OF_SOFTWARE = 256, SHORTEST = 128;
/** Memory of the parts at most. */
const PARTS_BYTES = 64 * 2 ** 20;

export function conv2dWeightGrad(gpu: Gpu, x: Buffer, g: Buffer, out: Buffer, spec: ConvSpec): void {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels } = spec;
  const pixels = batch * outHeight * outWidth, thin = isThin(spec);
  const parts = thin ? thinParts(gpu, spec) : ceil(pixels, partOf(gpu, spec));
  wholeVectors(gpu, x, 0, batch * height * width, inChannels, (a) => {
    wholeVectors(gpu, g, 0, pixels, outChannels, (whole) => {
      gpu.with(parts * partBytes(spec), (partial) => {
        (thin ? thinWeightGrad : tiledWeightGrad)(gpu, a, whole, partial, spec);
        addParts(gpu, partial, out, parts, spec);
      });
    });
  });
}

function partBytes({ inChannels, outChannels, kernel: [kh, kw] }: ConvSpec): number {
  return kh * kw * ceil(inChannels, 4) * ceil(outChannels, 4) * 64;
}

const tilesOf = ({ down, across }: Tile, rows: number, outputs: number) =>
  ceil(rows, down) * ceil(outputs, across);

/** Pixels of a part, by the shape alone: the sums are to be the same whatever the tile. */
function partOf(gpu: Gpu, spec: ConvSpec): number {
  const { batch, outHeight, outWidth, inChannels, outChannels, kernel: [kh, kw] } = spec;
  const pixels = batch * outHeight * outWidth;
  const wanted = Math.min(
    ceil(
      gpu.report.isSoftware ? MANY_OF_SOFTWARE : MANY,
      tilesOf(MIDDLE, kh * kw * ceil(inChannels, 4), ceil(outChannels, 4)),
    ),
    ceil(pixels, SHORTEST),
    Math.floor(PARTS_BYTES / partBytes(spec)),
  );
  return ceil(pixels, Math.max(1, wanted, ceil(pixels, LONGEST)));
}

/** Computes the parts [part, tap, input, output] of x and g, whose pixels are whole vectors. */
function tiledWeightGrad(gpu: Gpu, x: Buffer, g: Buffer, partial: Buffer, spec: ConvSpec): void {
  const { batch, height, width, inChannels, outHeight, outWidth, outChannels, kernel: [kh, kw] } = spec;
  const { stride, padTop, padLeft, upsample } = spec, pixels = batch * outHeight * outWidth;
  const inputs = ceil(inChannels, 4), outputs = ceil(outChannels, 4), rows = kh * kw * inputs;
  const part = partOf(gpu, spec), parts = ceil(pixels, part);
  const shape = {
    height,
    width,
    inputs,
    outHeight,
    outWidth,
    outputs,
    rows,
    pixels,
    part,
    kw,
    stride,
    padTop,
    padLeft,
  };
  const buffers = [x, g, partial];
  const call = (tile: Tile): Trial => {
    const tiles = tilesOf(tile, rows, outputs);
    const params = { ...shape, tiles, tilesAcross: ceil(outputs, tile.across), groups: tiles * parts };
    const kernel = partKernel(gpu, tile, upsample, params);
    return { kernel, groups: params.groups, buffers: buffers.map(ofGpu), params };
  };
  const isHalf = [x, g].some((buffer) => dtypeOf(buffer) === "f16");
  const tiles = tilesFor(gpu, rows, outputs, parts, isHalf);
  const choices = tiles.map((tile) => ({ name: tileName(tile), trial: () => call(tile) }));
  const name = `weightGrad ${[...Object.values(shape), upsample]} ${dtypeOf(x)} ${dtypeOf(g)}`;
  const flops = 2 * pixels * kh * kw * inChannels * outChannels;
  const { kernel, groups, params } = call(tiles[gpu.tuner.choose(name, flops, choices)]);
  gpu.run(kernel, buffers, groups, params, flops);
}

/** Adds the parts [part, tap, input, output], whose channels are whole vectors, to weights [output, input, tap]. */
function addParts(gpu: Gpu, partial: Buffer, out: Buffer, parts: number, spec: ConvSpec): void {
  const { inChannels, outChannels, kernel: [kh, kw] } = spec, taps = kh * kw;
  const n = inChannels * outChannels, outputs = ceil(outChannels, 4) * 4;
  const params = { n, parts, inChannels, outChannels, outputs, step: ceil(inChannels, 4) * 4 * outputs };
  // a thread has all taps of its weights, which lie together
  const kernel = gpu.kernel(`addParts ${taps}`, () => ({
    inputs: { partial: "f32" },
    outputs: { out: "f32" },
    params: u32s(params),
    threads: THREADS,
    body: `${each("p.n")}
  let output = i % p.outChannels;
  let input = i / p.outChannels;
  let to = (output * p.inChannels + input) * ${taps}u;
${repeat(taps, (tap) => `  var total${tap} = 0.0;`)}
  for (var part = 0u; part < p.parts; part++) {
    let first = part * ${taps}u * p.step + input * p.outputs + output;
${repeat(taps, (tap) => `    total${tap} += partial[first + ${tap}u * p.step];`)}
  }
${repeat(taps, (tap) => `  out[to + ${tap}u] = total${tap};`)}`,
  }));
  gpu.run(kernel, [partial, out], groupsOf(n), params);
}
