// The weight gradient of a stride-1 convolution by Winograd. The 4x4 (3x3) patches of the output's gradient take the place of
// the filter. Because the transforms are linear, the sum over all patches is taken first, and is then transformed back to
// 3x3 (4x4) taps.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { type Ex, f32, i32, type Local, v } from "../assembler/expressions.ts";
import { arg } from "./conv_arguments.ts";
import { atMost, kernel } from "./kernel.ts";
import { PANEL, PIXELS, TILE_BYTES } from "./micro_kernel.ts";
import { TILE_CHANNELS } from "./weight_gradient.ts";
import { allPatches, patchBytes, patchPosition } from "./winograd.ts";
import { ABREAST, ABREAST_BYTES } from "../wide.ts";
import {
  filterTransform,
  GAP,
  GRAD_TAPS,
  outputs,
  outputTransform,
  PATCH,
  patchStride,
  PRODUCTS,
  type Taps,
  transform2d,
} from "./winograd_transforms.ts";

/** Numbers that are transformed together. */
export const LANES = ABREAST_BYTES / 4;

/** Bytes of the sums of one part, [product][6 inputs][panel], for all inputs and a block of outputs. */
export function winogradSums(inChannels: number): number {
  return PRODUCTS * Math.ceil(inChannels / PIXELS) * (TILE_CHANNELS / PANEL) * TILE_BYTES;
}

/** Scratch memory for `patches` patches: one patch with borders, the transforms of both factors, and 6 more lanes to load. */
export function winogradGradScratch(patches: number, inChannels: number): number {
  return patchBytes(Math.max(inChannels, TILE_CHANNELS)) +
    PRODUCTS * (patches * (patchStride(inChannels) + TILE_CHANNELS * 4) + 2 * GAP) + 64;
}

/** The places of 6x6 or 4x4 vectors with strides, as addresses of rows plus offsets of columns. */
function grid(f: Fn, from: Local<"i32">, side: number, row: Local<"i32">, column: Local<"i32">) {
  const rows = [from];
  const columns = [f.let(i32.const(0))];
  for (let i = 1; i < side; i++) {
    rows.push(f.let(i32.add(rows[i - 1], row)));
    columns.push(f.let(i32.add(columns[i - 1], column)));
  }
  return (y: number, x: number) => [i32.add(rows[y], columns[x]), 0] as const;
}

/**
 * gradPatches<taps>(first, count, channel, channels, to, patch) transforms patches of the output's gradient as filters, to
 * to[product][patch][128 channels from `channel` on]. Pixels beyond the border and channels after the last one are 0.
 */
function addGradPatches(m: ModuleBuilder, taps: Taps): void {
  const side = outputs(taps);
  m.fn(`gradPatches${taps}`, ["i32", "i32", "i32", "i32", "i32", "i32"], [], (f) => {
    const [first, count, channel, channels, to, patch] = [0, 1, 2, 3, 4, 5].map((n) => f.param(n, "i32"));
    const pixelBytes = f.let(i32.shl(arg("outChannels"), 2));
    const imageRow = f.let(i32.mul(arg("outWidth"), pixelBytes));
    const blockBytes = f.let(i32.const(TILE_CHANNELS * 4));
    const blockRow = f.let(i32.const(side * TILE_CHANNELS * 4));
    const productBytes = f.let(i32.add(i32.mul(arg("blockWidth"), TILE_CHANNELS * 4), GAP));
    const temporary = f.let(i32.add(patch, PRODUCTS * TILE_CHANNELS * 4));
    const bytes = f.let(i32.shl(channels, 2));
    const whole = f.let(i32.eqz(i32.and(channels, LANES - 1)));
    f.for(first, f.let(i32.add(first, count)), 1, (n) => {
      const { sample, y: tileY, x: tileX } = patchPosition(f, n);
      const clip = (i: Local<"i32">, size: "outHeight" | "outWidth") =>
        atMost(f, side, i32.sub(arg(size), i32.mul(i, side)));
      const [height, width] = [clip(tileY, "outHeight"), clip(tileX, "outWidth")];
      const line = i32.add(i32.mul(sample, arg("outHeight")), i32.mul(tileY, side));
      const start = i32.add(i32.mul(line, imageRow), i32.mul(i32.mul(tileX, side), pixelBytes));
      const from = f.let(i32.add(arg("weights"), i32.add(start, i32.shl(channel, 2))));
      const [row, column] = [f.let(imageRow), f.let(pixelBytes)];
      f.if(i32.eqz(i32.and(whole, i32.eq(i32.add(height, width), 2 * side))), () => {
        f.fillBytes(patch, 0, side * side * TILE_CHANNELS * 4);
        f.for(0, height, 1, (r) => {
          f.for(0, width, 1, (c) => {
            const source = i32.add(from, i32.add(i32.mul(r, imageRow), i32.mul(c, pixelBytes)));
            f.copyBytes(i32.add(patch, i32.add(i32.mul(r, blockRow), i32.mul(c, blockBytes))), source, bytes);
          });
        });
        f.set(from, patch);
        f.set(row, blockRow);
        f.set(column, blockBytes);
      });
      f.for(0, bytes, ABREAST_BYTES, (c) => {
        const at = f.let(i32.add(to, c));
        const places = grid(f, f.let(i32.add(from, c)), side, row, column);
        transform2d(f, side, filterTransform, places, temporary, (_, __, values) => {
          f.storeAbreast(at, values);
          f.inc(at, productBytes);
        });
      });
      f.inc(to, TILE_CHANNELS * 4);
    });
  });
}

/**
 * Sums over patches. A tile is (part of the blocks of patches, block of 128 output channels). The arguments are those of
 * "winograd"; out is [part and block of outputs][product][6 inputs][panel].
 */
function addTiles(m: ModuleBuilder, taps: Taps): void {
  kernel(m, `winogradGrad${taps}`, (f, tile, scratch) => {
    const split = f.let(i32.div(tile, arg("panelBlocks")));
    const channel = f.let(
      i32.mul(i32.sub(tile, i32.mul(split, arg("panelBlocks"))), TILE_CHANNELS),
    );
    const channels = atMost(f, TILE_CHANNELS, i32.sub(arg("outChannels"), channel));
    const inBytes = f.let(arg("patchStride"));
    const capacity = f.let(arg("blockWidth"));
    const leftBytes = f.let(i32.add(i32.mul(capacity, inBytes), GAP));
    const rightBytes = f.let(i32.add(i32.mul(capacity, TILE_CHANNELS * 4), GAP));
    const right = f.let(i32.add(scratch, arg("patchArea")));
    const left = f.let(i32.add(right, i32.mul(rightBytes, PRODUCTS)));
    const inPanels = f.let(i32.div(i32.add(arg("inChannels"), PIXELS - 1), PIXELS));
    const outPanels = f.let(i32.div(i32.add(channels, PANEL - 1), PANEL));
    const size = f.let(i32.mul(i32.mul(inPanels, TILE_CHANNELS / PANEL), PRODUCTS * TILE_BYTES));
    const sumsStart = f.let(i32.add(arg("out"), i32.mul(tile, size)));
    f.fillBytes(sumsStart, 0, size);
    const all = f.let(allPatches());
    const blocks = f.let(i32.div(i32.add(all, i32.sub(capacity, 1)), capacity));
    const bound = (n: Local<"i32"> | ReturnType<typeof i32.add>) =>
      f.let(i32.div(i32.mul(n, blocks), arg("splits")));
    const [firstBlock, endBlock] = [bound(split), bound(i32.add(split, 1))];
    const rightRow = f.let(i32.const(TILE_CHANNELS * 4));
    f.for(firstBlock, endBlock, 1, (block) => {
      const first = f.let(i32.mul(block, capacity));
      const count = f.let(i32.min(f.let(i32.sub(all, first)), capacity));
      f.call(`gradPatches${taps}`, first, count, channel, channels, right, scratch);
      f.call("patches", first, count, left, scratch);
      const [lefts, rights] = [f.let(left), f.let(right)];
      const sums = f.let(sumsStart);
      f.for(0, PRODUCTS, 1, () => {
        const a = f.let(lefts);
        f.for(0, inPanels, 1, () => {
          const b = f.let(rights);
          f.for(0, outPanels, 1, () => {
            f.call("outer", a, inBytes, b, rightRow, count, sums);
            f.inc(b, PANEL * 4);
            f.inc(sums, TILE_BYTES);
          });
          f.inc(a, PIXELS * 4);
        });
        f.inc(lefts, leftBytes);
        f.inc(rights, rightBytes);
      });
    });
  });
}

/**
 * gradFilters<taps>(sums, product bytes, parts, part bytes, to, lanes, scratch) adds the 36 sums of all parts in order, for
 * several outputs abreast, and transforms them to the gradients of as many filters, from `to` on in OIHW order.
 */
function addGradFilters(m: ModuleBuilder, taps: Taps): void {
  m.fn(`gradFilters${taps}`, ["i32", "i32", "i32", "i32", "i32", "i32", "i32"], [], (f) => {
    const [at, productBytes, parts, partBytes, to, lanes, scratch] = [0, 1, 2, 3, 4, 5, 6]
      .map((n) => f.param(n, "i32"));
    const filter = f.let(i32.add(scratch, PRODUCTS * ABREAST_BYTES)); // taps x taps x lanes
    const temporary = f.let(i32.add(filter, taps * taps * ABREAST_BYTES));
    f.if(i32.gt(parts, 1), () => {
      f.fillBytes(scratch, 0, PRODUCTS * ABREAST_BYTES);
      f.for(0, parts, 1, () => {
        const from = f.let(at);
        f.for(0, PRODUCTS * ABREAST_BYTES, ABREAST_BYTES, (p) => {
          const sum = i32.add(scratch, p);
          f.abreast(ABREAST, (o) => f.store(sum, v.add(f.load(sum, o), f.load(from, o)), o));
          f.inc(from, productBytes);
        });
        f.inc(at, partBytes);
      });
      f.set(at, scratch);
      f.set(productBytes, ABREAST_BYTES);
    });
    const places = grid(f, at, PATCH, f.let(i32.mul(productBytes, PATCH)), productBytes);
    transform2d(
      f,
      PATCH,
      (f, x) => outputTransform(f, x, taps),
      places,
      temporary,
      (y, x, values) => f.storeAbreast(filter, values, (y * taps + x) * ABREAST_BYTES),
    );
    const filterBytes = f.let(i32.mul(arg("inChannels"), taps * taps * 4));
    for (let l = 0; l < LANES; l++) {
      f.if(i32.gt(lanes, l), () => {
        for (let tap = 0; tap < taps * taps; tap++) {
          f.storeF32(to, f32.load(filter, tap * ABREAST_BYTES + l * 4), tap * 4);
        }
      });
      f.inc(to, filterBytes);
    }
  });
}
/** The scratch memory of gradFilters. */
export const GRAD_FILTERS = (PRODUCTS + 16 + 4 * PATCH) * ABREAST_BYTES;

/** The address in dW of the filter from input `input` to output `output`. */
export const filterAt = (taps: Taps, output: Ex<"i32">, input: Ex<"i32">) =>
  i32.add(
    i32.mul(output, i32.mul(arg("inChannels"), taps * taps * 4)),
    i32.add(arg("out"), i32.mul(input, taps * taps * 4)),
  );

/**
 * Computes dW from the sums of all parts. The arguments are those of "winogradGrad", with the sums in `x`. A tile is 6 input
 * channels of a block of output channels.
 */
function addWayBack(m: ModuleBuilder, taps: Taps): void {
  kernel(m, `winogradWayBack${taps}`, (f, tile, scratch) => {
    const inPanels = f.let(i32.div(i32.add(arg("inChannels"), PIXELS - 1), PIXELS));
    const outBlock = f.let(i32.div(tile, inPanels));
    const inPanel = f.let(i32.sub(tile, i32.mul(outBlock, inPanels)));
    const channel = f.let(i32.mul(outBlock, TILE_CHANNELS));
    const channels = atMost(f, TILE_CHANNELS, i32.sub(arg("outChannels"), channel));
    const outPanels = f.let(i32.div(i32.add(channels, PANEL - 1), PANEL));
    const input = f.let(i32.mul(inPanel, PIXELS));
    const rows = atMost(f, PIXELS, i32.sub(arg("inChannels"), input));
    const productBytes = f.let(i32.mul(i32.mul(inPanels, outPanels), TILE_BYTES));
    const sumsBytes = f.let(i32.mul(i32.mul(inPanels, TILE_CHANNELS / PANEL), PRODUCTS * TILE_BYTES));
    const partBytes = f.let(i32.mul(sumsBytes, arg("panelBlocks")));
    const start = f.let(
      i32.add(
        i32.add(arg("x"), i32.mul(outBlock, sumsBytes)),
        i32.mul(i32.mul(inPanel, outPanels), TILE_BYTES),
      ),
    );
    const parts = f.let(arg("splits"));
    f.for(0, rows, 1, (row) => {
      f.for(0, channels, LANES, (lane) => {
        const panel = i32.mul(i32.div(lane, PANEL), TILE_BYTES);
        const place = i32.add(i32.mul(row, PANEL * 4), i32.shl(i32.and(lane, PANEL - 1), 2));
        const at = f.let(i32.add(start, i32.add(panel, place)));
        const to = f.let(filterAt(taps, i32.add(channel, lane), i32.add(input, row)));
        f.call(
          `gradFilters${taps}`,
          at,
          productBytes,
          parts,
          partBytes,
          to,
          f.let(i32.sub(channels, lane)),
          scratch,
        );
      });
    });
  });
}

export function addWinogradGrad(m: ModuleBuilder): void {
  for (const taps of GRAD_TAPS) {
    addGradPatches(m, taps);
    addTiles(m, taps);
    addGradFilters(m, taps);
    addWayBack(m, taps);
  }
}
