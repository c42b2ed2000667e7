// Winograd on small maps with many channels. Here the filters are larger than the picture, so each tile transforms the
// filters that it uses, a chunk of channels at a time, and never stores them. The few patches are transformed once for all
// tiles.
import { type ModuleBuilder } from "../assembler/assembler.ts";
import { i32 } from "../assembler/expressions.ts";
import { arg } from "./conv_arguments.ts";
import { atMost, kernel } from "./kernel.ts";
import { PANEL, PIXELS, TILE_BYTES } from "./micro_kernel.ts";
import { TILE_CHANNELS } from "./weight_gradient.ts";
import { allPatches, WORK } from "./winograd.ts";
import { filterAt, GRAD_FILTERS, LANES } from "./winograd_weight_gradient.ts";
import { GAP, GRAD_TAPS, patchStride, PRODUCTS, TAPS, type Taps } from "./winograd_transforms.ts";

/** Patches of a tile of "winogradInputs". */
export const INPUT_PATCHES = 2;

/** Bytes of the transformed patches, or of as many sums for a panel. */
export const transformedBytes = (patches: number, channels: number): number =>
  PRODUCTS * (patches * patchStride(channels) + GAP);

/** The scratch memory of a tile of "winogradSmall": filters of `chunk` channels, and the sums of its panels. */
export function smallScratch(chunk: number, panels: number, patches: number): number {
  return WORK + transformedBytes(PANEL, chunk) + panels * transformedBytes(patches, PANEL);
}

export function addWinogradSmall(m: ModuleBuilder): void {
  kernel(m, "winogradInputs", (f, tile, scratch) => {
    const first = f.let(i32.mul(tile, INPUT_PATCHES));
    const count = atMost(f, INPUT_PATCHES, i32.sub(allPatches(), first));
    const to = i32.add(arg("transformed"), i32.mul(first, arg("patchStride")));
    f.call("patches", first, count, f.let(to), scratch);
  });

  for (const taps of GRAD_TAPS) addSmallGrad(m, taps);
  for (const taps of TAPS) {
    // out = conv(x) + bias + residual. A tile is a block of panels.
    kernel(m, `winogradSmall${taps}`, (f, tile, scratch) => {
      const capacity = f.let(arg("blockWidth"));
      const count = f.let(allPatches());
      const channelBytes = f.let(i32.shl(arg("inChannels"), 2));
      const stride = f.let(arg("patchStride"));
      const inputBytes = f.let(i32.add(i32.mul(capacity, stride), GAP));
      const chunk = f.let(arg("chunk"));
      const filters = f.let(i32.add(scratch, WORK)); // [product][input of the chunk][panel]
      const filterBytes = f.let(i32.add(i32.mul(chunk, PANEL), GAP));
      const sums = f.let(i32.add(filters, i32.mul(filterBytes, PRODUCTS))); // [panel][product][patch][panel]
      const sumBytes = f.let(i32.add(i32.mul(capacity, PANEL * 4), GAP));
      const start = f.let(i32.mul(tile, i32.mul(arg("blockPanels"), PANEL)));
      const panelEnd = i32.add(start, i32.mul(arg("blockPanels"), PANEL));
      const end = f.let(i32.min(f.let(panelEnd), f.let(arg("outChannels"))));
      f.for(0, channelBytes, chunk, (c) => {
        const bytes = f.let(i32.min(f.let(i32.sub(channelBytes, c)), chunk));
        const to = f.let(sums);
        f.for(start, end, PANEL, (channel) => {
          const lanes = atMost(f, PANEL, i32.sub(end, channel));
          const input = i32.mul(i32.shrU(c, 2), arg("inStride"));
          const from = i32.add(i32.add(arg("filters"), input), i32.mul(channel, arg("outStride")));
          f.call(
            `filters${taps}`,
            f.let(from),
            lanes,
            f.let(i32.shrU(bytes, 2)),
            filters,
            filterBytes,
            scratch,
          );
          const inputs = f.let(i32.add(arg("transformed"), c));
          const weights = f.let(filters);
          f.for(0, PRODUCTS, 1, () => {
            const [a, out] = [f.let(inputs), f.let(to)];
            f.for(0, count, PIXELS, () => {
              f.call("rows", a, stride, weights, bytes, out, c);
              f.inc(a, i32.mul(stride, PIXELS));
              f.inc(out, TILE_BYTES);
            });
            f.inc(inputs, inputBytes);
            f.inc(weights, filterBytes);
            f.inc(to, sumBytes);
          });
        });
      });
      f.for(start, end, PANEL, (channel) => {
        f.call(`outputs${taps}`, sums, sumBytes, f.let(i32.const(0)), count, channel, scratch);
        f.inc(sums, i32.mul(sumBytes, PRODUCTS));
      });
    });
  }
}

/** Input and output channels of a tile of "winogradGradSmall". */
export const SMALL_IN = 8 * PIXELS;
export const SMALL_OUT = 32;
/** Patches of a tile of "winogradGrads". */
export const GRAD_PATCHES = 4;
const SMALL_PRODUCT = SMALL_IN * SMALL_OUT * 4 + GAP;

/** The weight gradient. A tile keeps the sums of 48 x 32 filters in its scratch until they are transformed back. */
function addSmallGrad(m: ModuleBuilder, taps: Taps): void {
  // to[block of 128 outputs][product][patch][128]
  kernel(m, `winogradGrads${taps}`, (f, tile, scratch) => {
    const block = f.let(i32.rem(tile, arg("panelBlocks")));
    const first = f.let(i32.mul(i32.div(tile, arg("panelBlocks")), GRAD_PATCHES));
    const count = atMost(f, GRAD_PATCHES, i32.sub(allPatches(), first));
    const channel = f.let(i32.mul(block, TILE_CHANNELS));
    const channels = atMost(f, TILE_CHANNELS, i32.sub(arg("outChannels"), channel));
    const blockBytes = i32.mul(PRODUCTS, i32.add(i32.mul(arg("blockWidth"), TILE_CHANNELS * 4), GAP));
    const to = i32.add(i32.mul(block, blockBytes), i32.mul(first, TILE_CHANNELS * 4));
    f.call(
      `gradPatches${taps}`,
      first,
      count,
      channel,
      channels,
      f.let(i32.add(arg("gradients"), to)),
      scratch,
    );
  });

  kernel(m, `winogradGradSmall${taps}`, (f, tile, scratch) => {
    const outBlocks = i32.div(i32.add(arg("outChannels"), SMALL_OUT - 1), SMALL_OUT);
    const inBlock = f.let(i32.div(tile, outBlocks));
    const output = f.let(i32.mul(i32.sub(tile, i32.mul(inBlock, outBlocks)), SMALL_OUT));
    const input = f.let(i32.mul(inBlock, SMALL_IN));
    const inputs = atMost(f, SMALL_IN, i32.sub(arg("inChannels"), input));
    const channels = atMost(f, SMALL_OUT, i32.sub(arg("outChannels"), output));
    const count = f.let(allPatches());
    const inBytes = f.let(arg("patchStride"));
    const leftBytes = f.let(i32.add(i32.mul(arg("blockWidth"), inBytes), GAP));
    const rightBytes = f.let(i32.add(i32.mul(arg("blockWidth"), TILE_CHANNELS * 4), GAP));
    const rightRow = f.let(i32.const(TILE_CHANNELS * 4));
    const left = f.let(i32.add(arg("transformed"), i32.shl(input, 2)));
    const block = i32.div(output, TILE_CHANNELS);
    const column = i32.shl(i32.and(output, TILE_CHANNELS - 1), 2);
    const right = f.let(
      i32.add(i32.add(arg("gradients"), column), i32.mul(block, i32.mul(rightBytes, PRODUCTS))),
    );
    const sums = f.let(i32.add(scratch, GRAD_FILTERS)); // [product][6 inputs][panel]
    f.fillBytes(sums, 0, PRODUCTS * SMALL_PRODUCT);
    const product = f.let(sums);
    f.for(0, PRODUCTS, 1, () => {
      const to = f.let(product);
      f.for(0, inputs, PIXELS, (i) => {
        const a = f.let(i32.add(left, i32.shl(i, 2)));
        f.for(0, channels, PANEL, (o) => {
          f.call("outer", a, inBytes, f.let(i32.add(right, i32.shl(o, 2))), rightRow, count, to);
          f.inc(to, TILE_BYTES);
        });
      });
      f.inc(left, leftBytes);
      f.inc(right, rightBytes);
      f.inc(product, SMALL_PRODUCT);
    });
    const panels = f.let(i32.div(i32.add(channels, PANEL - 1), PANEL));
    const productBytes = f.let(i32.const(SMALL_PRODUCT));
    const one = f.let(i32.const(1));
    f.for(0, inputs, 1, (i) => {
      f.for(0, channels, LANES, (o) => {
        const panel = i32.add(i32.mul(i32.div(i, PIXELS), panels), i32.div(o, PANEL));
        const place = i32.add(i32.mul(i32.rem(i, PIXELS), PANEL * 4), i32.shl(i32.and(o, PANEL - 1), 2));
        const at = f.let(i32.add(sums, i32.add(i32.mul(panel, TILE_BYTES), place)));
        const to = f.let(filterAt(taps, i32.add(output, o), i32.add(input, i)));
        f.call(`gradFilters${taps}`, at, productBytes, one, one, to, f.let(i32.sub(channels, o)), scratch);
      });
    });
  });
}
