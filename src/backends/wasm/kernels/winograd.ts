// Stride-1 convolutions by Winograd's F(4x4, 3x3), F(3x3, 4x4) and F(5x5, 2x2), which take 36 multiplications where the
// definition takes 144 (100). A 6x6 patch of the input is transformed to 36 numbers. For each of the 36 there is a matrix
// product over the channels, and the 36 results are transformed to 4x4 (3x3, 5x5) outputs.
import { type Fn, type ModuleBuilder } from "../assembler/assembler.ts";
import { type Ex, f32, i32, type Local, v, type V128 } from "../assembler/expressions.ts";
import { storePixel } from "./conv.ts";
import { argument } from "../threads.ts";
import { arg } from "./conv_arguments.ts";
import { atMost, kernel } from "./kernel.ts";
import { ACCUMULATORS, PANEL, PANEL_VECTORS, PIXELS, TILE_BYTES } from "./micro_kernel.ts";
import { ABREAST_BYTES } from "../wide.ts";
import {
  COLUMNS,
  filterTransform,
  GAP,
  inputTransform,
  outputs,
  outputTransform,
  PATCH,
  patchStride,
  PRODUCTS,
  TAPS,
  type Taps,
  transform2d,
} from "./winograd_transforms.ts";

/** The functions below use the start of the scratch memory for filters or outputs of a panel, and for half a transform. */
const LANES = ACCUMULATORS;
const MOST = outputs(2);
const TEMPORARY = LANES + MOST * MOST * PANEL * 4;
export const WORK = TEMPORARY + COLUMNS;

/** Transposes a 4x4 matrix of four vectors. */
function transpose(f: Fn, [a, b, c, d]: readonly V128[]): V128[] {
  const pairs = [[0, 4, 1, 5], [2, 6, 3, 7]].map((lanes) =>
    [v.shuffle(a, b, lanes), v.shuffle(c, d, lanes)].map((x) => f.let(x))
  );
  return pairs.flatMap(([x, y]) => [[0, 1, 4, 5], [2, 3, 6, 7]].map((lanes) => v.shuffle(x, y, lanes)));
}

/**
 * filters<taps>(from, lanes, inputs, to, product bytes, scratch) transforms `inputs` filters of each of `lanes` outputs,
 * which are a panel at most, and writes them to to[product][input][panel].
 */
function addFilters(m: ModuleBuilder, taps: Taps): void {
  m.fn(`filters${taps}`, ["i32", "i32", "i32", "i32", "i32", "i32"], [], (f) => {
    const [start, lanes, inputs, to, productBytes, scratch] = [0, 1, 2, 3, 4, 5].map((n) =>
      f.param(n, "i32")
    );
    const [outStride, inStride, flipped] = (["outStride", "inStride", "flipped"] as const).map((n) =>
      f.let(arg(n))
    );
    // lanes after the last output repeat it, and are not used
    const filter = [start];
    for (let l = 1; l < PANEL; l++) {
      filter.push(f.let(i32.add(filter[l - 1], i32.select(outStride, 0, i32.gt(lanes, l)))));
    }
    const gathered = f.let(i32.add(scratch, LANES));
    const firstTap = f.let(i32.add(gathered, i32.select((taps * taps - 1) * PANEL * 4, 0, flipped)));
    const tapStep = f.let(i32.select(-PANEL * 4, PANEL * 4, flipped));
    const at = f.local("i32");
    const put = (value: V128, half: number) => {
      f.store(at, value, half);
      f.inc(at, tapStep);
    };
    f.for(0, inputs, 1, () => {
      for (const half of PANEL_VECTORS) {
        const four = filter.slice(half / 4, half / 4 + 4);
        f.set(at, firstTap);
        for (let tap = 0; tap + 4 <= taps * taps; tap += 4) {
          for (const column of transpose(f, four.map((from) => f.let(v.load(from, tap * 4))))) {
            put(column, half);
          }
        }
        if (taps === 3) four.forEach((from, l) => f.storeF32(at, f32.load(from, 8 * 4), half + 4 * l));
      }
      for (let part = 0; part < PANEL * 4; part += ABREAST_BYTES) {
        const at = f.let(i32.add(to, part));
        transform2d(
          f,
          taps,
          filterTransform,
          (y, x) => [scratch, LANES + (y * taps + x) * PANEL * 4 + part],
          f.let(i32.add(scratch, TEMPORARY)),
          (_, __, values) => {
            f.storeAbreast(at, values);
            f.inc(at, productBytes);
          },
        );
      }
      f.inc(to, PANEL * 4);
      for (const from of filter) f.inc(from, inStride);
    });
  });

  // transforms all filters to to[panel][product][input][panel]; a tile is a panel
  kernel(m, `winogradFilters${taps}`, (f, tile, scratch) => {
    const inputs = f.let(arg("inChannels"));
    const first = f.let(i32.mul(tile, PANEL));
    const lanes = atMost(f, PANEL, i32.sub(arg("outChannels"), first));
    const productBytes = f.let(i32.add(i32.mul(inputs, PANEL * 4), GAP));
    const to = f.let(i32.add(arg("weights"), i32.mul(tile, i32.mul(productBytes, PRODUCTS))));
    const from = f.let(i32.add(arg("filters"), i32.mul(first, arg("outStride"))));
    f.call(`filters${taps}`, from, lanes, inputs, to, productBytes, scratch);
  });
}

/**
 * patches(first, count, to, patch) transforms `count` patches of the input from `first` on, in raster order over the batch,
 * to to[product][count of a block][channel]. `patch` is memory for one patch with its borders.
 */
function addPatches(m: ModuleBuilder): void {
  m.fn("patches", ["i32", "i32", "i32", "i32"], [], (f) => {
    const [first, count, to, patch] = [0, 1, 2, 3].map((n) => f.param(n, "i32"));
    const pixelBytes = f.let(i32.shl(arg("inChannels"), 2));
    const imageRow = f.let(i32.mul(arg("width"), pixelBytes));
    const stride = f.let(arg("patchStride"));
    const productBytes = f.let(i32.add(i32.mul(arg("blockWidth"), stride), GAP));
    const temporary = f.let(i32.add(patch, i32.mul(pixelBytes, PRODUCTS)));
    const plain = f.let(i32.eqz(arg("upShift")));
    const step = f.let(arg("patchStep"));
    f.for(first, f.let(i32.add(first, count)), 1, (n) => {
      const { sample, y: tileY, x: tileX } = patchPosition(f, n);
      const y = f.let(i32.sub(i32.mul(tileY, step), arg("padTop")));
      const x = f.let(i32.sub(i32.mul(tileX, step), arg("padLeft")));
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
      f.for(0, pixelBytes, ABREAST_BYTES, (c) => {
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
          (y, x) => [i32.add(rows[y], columns[x]), 0],
          temporary,
          (_, __, values) => {
            f.storeAbreast(at, values);
            f.inc(at, productBytes);
          },
        );
      });
      f.inc(to, stride);
    });
  });
}

/** The sample and the coordinates of patch `n`. */
export function patchPosition(f: Fn, n: Local<"i32">): Record<"sample" | "y" | "x", Local<"i32">> {
  const row = f.let(i32.div(n, arg("blocksAcross")));
  const x = f.let(i32.sub(n, i32.mul(row, arg("blocksAcross"))));
  const sample = f.let(i32.div(row, arg("blocksDown")));
  return { sample, y: f.let(i32.sub(row, i32.mul(sample, arg("blocksDown")))), x };
}

/**
 * outputs<taps>(sums, product bytes, first, count, channel, scratch) transforms sums[product][patch][panel] of the patches
 * first .. first + count back to a panel of output channels from `channel` on, and adds bias and residual.
 */
function addOutputs(m: ModuleBuilder, taps: Taps): void {
  const side = outputs(taps);
  m.fn(`outputs${taps}`, ["i32", "i32", "i32", "i32", "i32", "i32"], [], (f) => {
    const [sums, productBytes, first, count, channel, scratch] = [0, 1, 2, 3, 4, 5].map((n) =>
      f.param(n, "i32")
    );
    const lanes = f.let(i32.sub(arg("outChannels"), channel));
    const [bias, residual, out] = [arg("bias"), arg("residual"), arg("out")].map((a) => f.let(a));
    const [pixelBytes, rowBytes] = (["outPixel", "outRow"] as const).map((n) => f.let(arg(n)));
    const temporary = f.let(i32.add(scratch, TEMPORARY));
    f.for(0, count, 1, (t) => {
      for (let part = 0; part < PANEL * 4; part += ABREAST_BYTES) {
        const column = Array.from({ length: PATCH }, () => f.local("i32"));
        column.forEach((at, x) => f.set(at, x === 0 ? sums : i32.add(column[x - 1], productBytes)));
        const productRow = f.let(i32.mul(productBytes, PATCH));
        const row = Array.from({ length: PATCH }, () => f.local("i32"));
        row.forEach((at, y) => f.set(at, y === 0 ? i32.const(0) : i32.add(row[y - 1], productRow)));
        transform2d(
          f,
          PATCH,
          (f, x) => outputTransform(f, x, side),
          (y, x) => [i32.add(row[y], column[x]), part],
          temporary,
          (y, x, values) => f.storeAbreast(scratch, values, LANES + (y * side + x) * PANEL * 4 + part),
        );
      }
      const { sample, y, x } = patchPosition(f, f.let(i32.add(first, t)));
      const clip = (i: Local<"i32">, size: "outHeight" | "outWidth") =>
        atMost(f, side, i32.sub(arg(size), i32.mul(i, side)));
      const [height, width] = [clip(y, "outHeight"), clip(x, "outWidth")];
      const line = i32.add(i32.mul(sample, arg("outImage")), i32.mul(i32.mul(y, side), rowBytes));
      const offset = f.let(
        i32.add(i32.add(line, i32.mul(i32.mul(x, side), pixelBytes)), i32.shl(channel, 2)),
      );
      f.for(0, height, 1, (r) => {
        const pixel = f.let(i32.add(scratch, i32.mul(r, side * PANEL * 4)));
        const at = f.let(i32.add(offset, i32.mul(r, rowBytes)));
        f.for(0, width, 1, () => {
          storePixel(f, pixel, LANES, at, channel, lanes, bias, residual, out);
          f.inc(pixel, PANEL * 4);
          f.inc(at, pixelBytes);
        });
      });
      f.inc(sums, PANEL * 4);
    });
  });
}

/** Bytes of a panel of transformed filters. */
export const filterBytes = (inChannels: number): number => PRODUCTS * (inChannels * PANEL * 4 + GAP);

/** Bytes of a patch with its borders, and of the columns of one transform. */
export const patchBytes = (channels: number): number => PRODUCTS * channels * 4 + COLUMNS;

/** The scratch memory that a tile of "winograd" needs for `patches` patches of `channels` channels. */
export function winogradScratch(patches: number, channels: number): number {
  return WORK + PRODUCTS * (patches * (patchStride(channels) + PANEL * 4) + 2 * GAP) + patchBytes(channels);
}

/** The number of patches. */
export const allPatches = () => i32.mul(arg("batch"), i32.mul(arg("blocksDown"), arg("blocksAcross")));

/** out = conv(x) + bias + residual. A tile is a block of patches times a block of panels. */
function addTiles(m: ModuleBuilder, taps: Taps): void {
  kernel(m, `winograd${taps}`, (f, tile, scratch) => {
    const block = f.let(i32.div(tile, arg("panelBlocks")));
    const panelBlock = f.let(i32.sub(tile, i32.mul(block, arg("panelBlocks"))));
    const capacity = f.let(arg("blockWidth"));
    const first = f.let(i32.mul(block, capacity));
    const count = f.let(i32.min(f.let(i32.sub(allPatches(), first)), capacity));
    const channelBytes = f.let(i32.shl(arg("inChannels"), 2));
    const products = f.let(i32.add(scratch, WORK)); // [product][patch][panel]
    const productBytes = f.let(i32.add(i32.mul(capacity, PANEL * 4), GAP));
    const inputs = f.let(i32.add(products, i32.mul(productBytes, PRODUCTS)));
    const stride = f.let(arg("patchStride"));
    const inputBytes = f.let(i32.add(i32.mul(capacity, stride), GAP));
    f.call("patches", first, count, inputs, f.let(i32.add(inputs, i32.mul(inputBytes, PRODUCTS))));

    const panelBytes = f.let(i32.add(i32.mul(channelBytes, PANEL), GAP));
    const channel = f.let(i32.mul(panelBlock, i32.mul(arg("blockPanels"), PANEL)));
    const panelEnd = i32.add(channel, i32.mul(arg("blockPanels"), PANEL));
    const end = f.let(i32.min(f.let(panelEnd), f.let(arg("outChannels"))));
    const weights = f.let(
      i32.add(arg("weights"), i32.mul(i32.mul(i32.div(channel, PANEL), PRODUCTS), panelBytes)),
    );
    const fresh = f.let(i32.const(0));
    f.while(i32.lt(channel, end), () => {
      const from = f.let(inputs);
      const to = f.let(products);
      f.for(0, PRODUCTS, 1, () => {
        const [a, sums] = [f.let(from), f.let(to)];
        f.for(0, count, PIXELS, () => {
          f.call("rows", a, stride, weights, channelBytes, sums, fresh);
          f.inc(a, i32.mul(stride, PIXELS));
          f.inc(sums, TILE_BYTES);
        });
        f.inc(from, inputBytes);
        f.inc(to, productBytes);
        f.inc(weights, panelBytes);
      });
      f.call(`outputs${taps}`, products, productBytes, first, count, channel, scratch);
      f.inc(channel, PANEL);
    });
  });
}

/**
 * A 3x3 filter on a picture that is enlarged by two equals four 2x2 filters on the picture itself, one for each place
 * (y mod 2, x mod 2) of the output: two of the filter's three rows fall on the same row of the picture, so they are added.
 * Arguments: from, to[place][output][input][2][2], inputs, outputs; a tile is an output channel.
 */
function addUpFilters(m: ModuleBuilder): void {
  kernel(m, "upFilters", (f, tile) => {
    const inputs = f.let(argument(2));
    const from = f.let(i32.add(argument(0), i32.mul(tile, i32.mul(inputs, 36))));
    const to = f.let(i32.add(argument(1), i32.mul(tile, i32.shl(inputs, 4))));
    const placeBytes = f.let(i32.shl(i32.mul(inputs, argument(3)), 4));
    /** The weights that fall on the first and on the second row (column), for places 0 and 1. */
    const joined = (w: readonly Ex<"f32">[]) => [[w[0], f32.add(w[1], w[2])], [f32.add(w[0], w[1]), w[2]]];
    f.for(0, inputs, 1, () => {
      const columns = [0, 1, 2].map((x) =>
        joined([0, 1, 2].map((y) => f.let(f32.load(from, (y * 3 + x) * 4))))
      );
      const at = f.let(to);
      for (const y of [0, 1]) {
        const rows = [0, 1].map((tap) => joined(columns.map((column) => f.let(column[y][tap]))));
        for (const x of [0, 1]) {
          rows.forEach((row, r) => row[x].forEach((value, c) => f.storeF32(at, value, (r * 2 + c) * 4)));
          f.inc(at, placeBytes);
        }
      }
      f.inc(from, 36);
      f.inc(to, 16);
    });
  });
}

export function addWinograd(m: ModuleBuilder): void {
  addPatches(m);
  addUpFilters(m);
  for (const taps of TAPS) {
    addFilters(m, taps);
    addOutputs(m, taps);
    addTiles(m, taps);
  }
}
