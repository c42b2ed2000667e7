// Chapter 3: how much each pixel counts for one output, as the length of its gradient: for a few convolutions in a row, and for
// one token of the small model.
import {
  conv2d,
  drawCartoonFace,
  grad,
  ones,
  type Picture,
  scope,
  type Tensor,
  tensor,
  toFloats,
  VQGAN,
} from "../../../mod.ts";
import { heat, palette, pictureOf, Sketch } from "./sketch.ts";

const root = new URL("../../../", import.meta.url);

/** The gradient of the middle of `fn(x)` at the pixels of x, summed over the channels and scaled to at most 1. */
async function reach(x: Tensor, fn: (x: Tensor) => Tensor): Promise<Float32Array> {
  x.requiresGrad = true;
  const size = x.shape[1];
  const g = scope(() => {
    const out = fn(x), [, height, width, channels] = out.shape, y = height >> 1, middle = width >> 1;
    const one = out.slice([0, y, middle, 0], [1, y + 1, middle + 1, channels]);
    return grad([one.square().sum()], [x])[0].abs().sum(3).reshape(size, size);
  });
  const values = await g.floats(), most = values.reduce((a, b) => Math.max(a, b));
  g.dispose();
  return values.map((v) => v / most);
}

const conv = (x: Tensor, stride = 1) => conv2d(x, ones([1, 1, 3, 3]), null, { padding: 1, stride });

export async function draw(): Promise<Picture> {
  const sketch = await Sketch.of(1000, 316);
  const stacks: [string, (x: Tensor) => Tensor][] = [
    ["1 convolution: 3x3", (x) => conv(x)],
    ["3 convolutions: 7x7", (x) => conv(conv(conv(x)))],
    ["3, two of stride 2: 15x15", (x) => conv(conv(conv(x, 2), 2))],
  ];
  for (const [i, [name, fn]] of stacks.entries()) {
    const x = ones([1, 24, 24, 1]), left = 10 + 240 * i;
    sketch.text(name, left, 22, { bold: true, size: 13 });
    await sketch.picture(pictureOf((await reach(x, fn)).map((v) => v ** 0.5), 24, heat), left, 34, 9);
    sketch.box(left, 34, 216, 216, palette.faint);
    x.dispose();
  }
  const model = await VQGAN.load(new URL("models/faces.safetensors", root).pathname);
  const size = model.config.ddconfig.resolution;
  const x = tensor(toFloats(await drawCartoonFace(8, size)), [1, size, size, 3]);
  const one = await reach(x, (x) => model.quant_conv.call(model.encoder.call(x)));
  const times = Math.max(1, Math.floor(256 / size)), side = times * size, tile = times * model.factor;
  sketch.text("a token of the small model", 730, 22, { bold: true, size: 13 });
  await sketch.picture(pictureOf(one.map((v) => v ** 0.4), size, heat), 730, 34, times);
  sketch.box(730, 34, side, side, palette.faint);
  const [x0, y0] = [730 + side / 2, 34 + side / 2], [x1, y1] = [x0 + tile, y0 + tile];
  sketch.line([[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]], palette.blue, 2);
  sketch.text("its own tile: blue frame", 730, 34 + side + 18, { size: 13, color: palette.soft });
  sketch.text("dark: a change of this pixel changes the output most", 10, 274, {
    size: 13,
    color: palette.soft,
  });
  x.dispose();
  model.dispose();
  return await sketch.render();
}
