// 3x3 stride-1 convolutions by Winograd's F(4x4, 3x3) (Lavin & Gray 2016): 36 multiplications where the definition has
// 144. A 6x6 patch of the input becomes 36 numbers, each of the 36 a matrix product of its own over the channels, and
// what comes out becomes 4x4 outputs.
import { type Ex, type Fn, i32, type Local, type ModuleBuilder, v, type V128 } from "./assembler.ts";
import { CONV, storePixel } from "./conv.ts";
import { kernel } from "./elementwise.ts";
import { ACCUMULATORS, PANEL, PIXELS } from "./micro.ts";
import { argument } from "./pool.ts";

/** Outputs of a patch along one side, its inputs, and how many products it takes. */
export const OUT = 4;
export const PATCH = 6;
export const PRODUCTS = PATCH * PATCH;
/**
 * A cache line between the products of a block. Without it their addresses differ by multiples of 4096, and the 36 values
 * of a transform fight for the 8 places of one cache set.
 */
export const GAP = 64;

/** The transforms evaluate polynomials at 0, +-P, +-Q and infinity: at these they err half as much as at the usual 1 and 2. */
const P = Math.SQRT1_2;
const Q = Math.SQRT2;
const [P2, Q2] = [P * P, Q * Q];

type Vectors = readonly V128[];

/** B^T x: a patch at the six points; the denominators are left to the filter. */
function inputTransform(f: Fn, x: Vectors): V128[] {
  const even = (s: number) => f.let(f.fma(x[2], f.splat(-s), x[4]));
  const odd = (p: number, s: number) => f.let(v.mul(f.splat(p), f.fma(x[1], f.splat(-s), x[3])));
  const [e1, o1, e2, o2] = [even(Q2), odd(P, Q2), even(P2), odd(Q, P2)];
  const end = (a: V128, b: V128, c: V128) => f.fma(a, f.splat(P2 * Q2), f.fma(b, f.splat(-(P2 + Q2)), c));
  return [
    end(x[0], x[2], x[4]),
    v.add(e1, o1),
    v.sub(e1, o1),
    v.add(e2, o2),
    v.sub(e2, o2),
    end(x[1], x[3], x[5]),
  ];
}

/** The polynomial with coefficients x at the six points, with the denominators: G x, for 3 or 4 coefficients. */
export function filterTransform(f: Fn, x: Vectors): V128[] {
  const at = (p: number, norm: number) => {
    const scale = (i: number) => f.splat(p ** i / norm);
    const even = f.let(f.fma(x[2], scale(2), v.mul(x[0], scale(0))));
    const first = v.mul(x[1], scale(1));
    const odd = f.let(x.length === 4 ? f.fma(x[3], scale(3), first) : first);
    return [v.add(even, odd), v.sub(even, odd)];
  };
  return [
    v.mul(x[0], f.splat(1 / (P2 * Q2))),
    ...at(P, 2 * P2 * (P2 - Q2)),
    ...at(Q, 2 * Q2 * (Q2 - P2)),
    x[x.length - 1],
  ];
}

/** A^T m: `count` coefficients from the six products. */
export function outputTransform(f: Fn, m: Vectors, count: number): V128[] {
  const [s1, d1, s2, d2] = [v.add(m[1], m[2]), v.sub(m[1], m[2]), v.add(m[3], m[4]), v.sub(m[3], m[4])]
    .map((x) => f.let(x));
  return Array.from({ length: count }, (_, i) => {
    const [a, b] = i % 2 === 0 ? [s1, s2] : [d1, d2];
    const sum = i === 0 ? v.add(a, b) : f.fma(b, f.splat(Q ** i), v.mul(a, f.splat(P ** i)));
    return i === 0 ? v.add(m[0], sum) : i === count - 1 ? v.add(m[5], sum) : sum;
  });
}

/**
 * A two-dimensional transform of vectors in memory: columns into `temporary`, then rows.
 * `load(y, x)` and `store(y, x, value)` say where the vectors are.
 */
export function transform2d(
  f: Fn,
  size: number,
  transform: (f: Fn, x: Vectors) => V128[],
  load: (y: number, x: number) => V128,
  temporary: Ex<"i32">,
  store: (y: number, x: number, value: V128) => void,
): void {
  let rows = 0;
  for (let x = 0; x < size; x++) {
    const out = transform(f, Array.from({ length: size }, (_, y) => f.let(load(y, x))));
    rows = out.length;
    out.forEach((value, y) => f.store(temporary, value, (y * size + x) * 16));
  }
  for (let y = 0; y < rows; y++) {
    transform(f, Array.from({ length: size }, (_, x) => f.let(v.load(temporary, (y * size + x) * 16))))
      .forEach((value, x) => store(y, x, value));
  }
}

const arg = (name: keyof typeof CONV) => argument(CONV[name]);

/**
 * Filters at the six points: to[panel][product][input][8 outputs]. Arguments as "pack" has them; a tile is a panel.
 */
function addWeights(m: ModuleBuilder): void {
  kernel(m, "winogradWeights", (f, tile, scratch) => {
    const inputs = f.let(argument(4));
    const [outStride, inStride, rowStride, columnStride] = [6, 7, 8, 9].map((n) => f.let(argument(n)));
    const first = f.let(i32.mul(tile, PANEL));
    const lanes = f.let(i32.min(f.let(i32.sub(argument(5), first)), f.let(i32.const(PANEL))));
    const productBytes = f.let(i32.add(i32.mul(inputs, PANEL * 4), GAP));
    const to = f.let(i32.add(argument(1), i32.mul(tile, i32.mul(productBytes, PRODUCTS))));
    const filters = f.let(i32.add(scratch, ACCUMULATORS)); // 3 x 3 x 8
    const temporary = f.let(i32.add(filters, 9 * PANEL * 4));
    f.fillBytes(filters, 0, 9 * PANEL * 4);
    const channel = f.let(i32.add(argument(0), i32.mul(first, outStride)));
    f.for(0, inputs, 1, () => {
      const from = f.let(channel);
      const lane = f.let(filters);
      f.for(0, lanes, 1, () => {
        const row = f.let(from);
        for (let y = 0; y < 3; y++) {
          const tap = f.let(row);
          for (let x = 0; x < 3; x++) {
            f.storeI32(lane, i32.load(tap), (y * 3 + x) * PANEL * 4);
            if (x < 2) f.inc(tap, columnStride);
          }
          if (y < 2) f.inc(row, rowStride);
        }
        f.inc(lane, 4);
        f.inc(from, outStride);
      });
      for (const half of [0, 16]) {
        const at = f.let(i32.add(to, half));
        transform2d(
          f,
          3,
          filterTransform,
          (y, x) => v.load(filters, (y * 3 + x) * PANEL * 4 + half),
          temporary,
          (_, __, u) => {
            f.store(at, u);
            f.inc(at, productBytes);
          },
        );
      }
      f.inc(to, PANEL * 4);
      f.inc(channel, inStride);
    });
  });
}

/**
 * patches(first, count, to, patch): the transformed input patches first .. first + count in raster order over the batch,
 * as to[product][count of a block][channel]; `patch` is room for one patch with borders.
 */
function addPatches(m: ModuleBuilder): void {
  m.fn("patches", ["i32", "i32", "i32", "i32"], [], (f) => {
    const [first, count, to, patch] = [0, 1, 2, 3].map((n) => f.param(n, "i32"));
    const pixelBytes = f.let(i32.shl(arg("inChannels"), 2));
    const imageRow = f.let(i32.mul(arg("width"), pixelBytes));
    const productBytes = f.let(i32.add(i32.mul(arg("blockWidth"), pixelBytes), GAP));
    const temporary = f.let(i32.add(patch, i32.mul(pixelBytes, PRODUCTS)));
    const plain = f.let(i32.and(i32.eqz(arg("upShift")), i32.eq(arg("dilate"), 1)));
    f.for(first, f.let(i32.add(first, count)), 1, (n) => {
      const { sample, y: tileY, x: tileX } = patchPosition(f, n);
      const y = f.let(i32.sub(i32.mul(tileY, OUT), arg("padTop")));
      const x = f.let(i32.sub(i32.mul(tileX, OUT), arg("padLeft")));
      const [from, rowBytes] = [f.local("i32"), f.local("i32")];
      const within = (i: Local<"i32">, size: "height" | "width") =>
        i32.and(i32.ge(i, 0), i32.le(i32.add(i, PATCH), arg(size)));
      f.if(i32.and(plain, i32.and(within(y, "height"), within(x, "width"))), () => {
        f.set(rowBytes, imageRow);
        const row = i32.add(i32.mul(sample, arg("height")), y);
        f.set(from, i32.add(arg("x"), i32.add(i32.mul(row, imageRow), i32.mul(x, pixelBytes))));
      }, () => {
        f.set(rowBytes, i32.mul(pixelBytes, PATCH));
        f.set(from, patch);
        const side = f.let(i32.const(PATCH));
        f.call("copyInput", sample, y, x, side, side, patch);
      });
      f.for(0, pixelBytes, 16, (c) => {
        const at = f.let(i32.add(to, c));
        const corner = f.let(i32.add(from, c));
        const rows = [corner];
        for (let r = 1; r < PATCH; r++) rows.push(f.let(i32.add(rows[r - 1], rowBytes)));
        const columns = [f.let(i32.const(0))];
        for (let c = 1; c < PATCH; c++) columns.push(f.let(i32.add(columns[c - 1], pixelBytes)));
        transform2d(
          f,
          PATCH,
          inputTransform,
          (y, x) => v.load(i32.add(rows[y], columns[x])),
          temporary,
          (_, __, u) => {
            f.store(at, u);
            f.inc(at, productBytes);
          },
        );
      });
      f.inc(to, pixelBytes);
    });
  });
}

/** Sample and patch coordinates of patch `n`. */
export function patchPosition(f: Fn, n: Local<"i32">): Record<"sample" | "y" | "x", Local<"i32">> {
  const row = f.let(i32.div(n, arg("blocksAcross")));
  const x = f.let(i32.sub(n, i32.mul(row, arg("blocksAcross"))));
  const sample = f.let(i32.div(row, arg("blocksDown")));
  return { sample, y: f.let(i32.sub(row, i32.mul(sample, arg("blocksDown")))), x };
}

/** Bytes of a panel of 8 filters. */
export const filterBytes = (inChannels: number): number => PRODUCTS * (inChannels * PANEL * 4 + GAP);

/** Bytes of a patch with its borders and of the columns of one transform. */
export const patchBytes = (channels: number): number => PRODUCTS * channels * 4 + PRODUCTS * 16;

const TEMPORARY = ACCUMULATORS;
const OUTPUTS = TEMPORARY + OUT * PATCH * 16;
const BLOCK = OUTPUTS + OUT * OUT * PANEL * 4;
/** Scratch that a tile of "winograd" needs for `patches` patches of `channels` channels. */
export function winogradScratch(patches: number, channels: number): number {
  return BLOCK + PRODUCTS * (patches * (channels + PANEL) * 4 + 2 * GAP) + patchBytes(channels);
}

/** out = conv(x) + bias + residual. A tile is a block of patches times a block of panels. */
export function addWinograd(m: ModuleBuilder): void {
  addWeights(m);
  addPatches(m);
  kernel(m, "winograd", (f, tile, scratch) => {
    const block = f.let(i32.div(tile, arg("panelBlocks")));
    const panelBlock = f.let(i32.sub(tile, i32.mul(block, arg("panelBlocks"))));
    const capacity = f.let(arg("blockWidth"));
    const first = f.let(i32.mul(block, capacity));
    const all = i32.mul(arg("batch"), i32.mul(arg("blocksDown"), arg("blocksAcross")));
    const count = f.let(i32.min(f.let(i32.sub(all, first)), capacity));
    const channelBytes = f.let(i32.shl(arg("inChannels"), 2));
    const products = f.let(i32.add(scratch, BLOCK)); // [product][patch][8 outputs]
    const productBytes = f.let(i32.add(i32.mul(capacity, PANEL * 4), GAP));
    const inputs = f.let(i32.add(products, i32.mul(productBytes, PRODUCTS)));
    const inputBytes = f.let(i32.add(i32.mul(capacity, channelBytes), GAP));
    f.call("patches", first, count, inputs, f.let(i32.add(inputs, i32.mul(inputBytes, PRODUCTS))));

    const panelBytes = f.let(i32.add(i32.mul(channelBytes, PANEL), GAP));
    const channel = f.let(i32.mul(panelBlock, i32.mul(arg("blockPanels"), PANEL)));
    const panelEnd = i32.add(channel, i32.mul(arg("blockPanels"), PANEL));
    const end = f.let(i32.min(f.let(panelEnd), f.let(arg("outChannels"))));
    const weights = f.let(
      i32.add(arg("weights"), i32.mul(i32.mul(i32.div(channel, PANEL), PRODUCTS), panelBytes)),
    );
    const [bias, residual, out] = [arg("bias"), arg("residual"), arg("out")].map((a) => f.let(a));
    const pixelBytes = f.let(i32.shl(arg("outChannels"), 2));
    const rowBytes = f.let(i32.mul(arg("outWidth"), pixelBytes));
    f.while(i32.lt(channel, end), () => {
      const lanes = f.let(i32.sub(arg("outChannels"), channel));
      const from = f.let(inputs);
      const to = f.let(products);
      f.for(0, PRODUCTS, 1, () => {
        const [a, sums] = [f.let(from), f.let(to)];
        f.for(0, count, PIXELS, () => {
          f.call("rows", a, channelBytes, weights, channelBytes, sums);
          f.inc(a, i32.mul(channelBytes, PIXELS));
          f.inc(sums, PIXELS * PANEL * 4);
        });
        f.inc(from, inputBytes);
        f.inc(to, productBytes);
        f.inc(weights, panelBytes);
      });
      const sums = f.let(products);
      f.for(0, count, 1, (t) => {
        for (const half of [0, 16]) {
          const column = Array.from({ length: PATCH }, () => f.local("i32"));
          column.forEach((at, x) => f.set(at, x === 0 ? sums : i32.add(column[x - 1], productBytes)));
          const productRow = f.let(i32.mul(productBytes, PATCH));
          const row = Array.from({ length: PATCH }, () => f.local("i32"));
          row.forEach((at, y) => f.set(at, y === 0 ? i32.const(0) : i32.add(row[y - 1], productRow)));
          transform2d(
            f,
            PATCH,
            (f, x) => outputTransform(f, x, OUT),
            (y, x) => v.load(i32.add(row[y], column[x]), half),
            f.let(i32.add(scratch, TEMPORARY)),
            (y, x, value) => f.store(scratch, value, OUTPUTS + (y * OUT + x) * PANEL * 4 + half),
          );
        }
        const { sample, y, x } = patchPosition(f, f.let(i32.add(first, t)));
        const clip = (i: Local<"i32">, size: "outHeight" | "outWidth") =>
          f.let(i32.min(f.let(i32.sub(arg(size), i32.mul(i, OUT))), f.let(i32.const(OUT))));
        const [height, width] = [clip(y, "outHeight"), clip(x, "outWidth")];
        const line = i32.mul(i32.add(i32.mul(sample, arg("outHeight")), i32.mul(y, OUT)), rowBytes);
        const offset = f.let(
          i32.add(i32.add(line, i32.mul(i32.mul(x, OUT), pixelBytes)), i32.shl(channel, 2)),
        );
        f.for(0, height, 1, (r) => {
          const [pixel, at] = [
            f.let(i32.add(scratch, i32.mul(r, OUT * PANEL * 4))),
            f.let(i32.add(offset, i32.mul(r, rowBytes))),
          ];
          f.for(0, width, 1, () => {
            storePixel(f, pixel, OUTPUTS, at, channel, lanes, bias, residual, out);
            f.inc(pixel, PANEL * 4);
            f.inc(at, pixelBytes);
          });
        });
        f.inc(sums, PANEL * 4);
      });
      f.inc(channel, PANEL);
    });
  });
}
