// Chapter 6: four ways to spoil a picture by the same squared error, measured by pixels and by another network's eyes. The
// network is the encoder of the small model, because it is at hand; LPIPS uses a classifier, and weights its channels. With the
// files of LPIPS, `deno run -A docs/figures/book/eyes.ts backbone.pth heads.pth` prints what LPIPS says of these pictures.
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { captureOutputs, findPerceptual, loadPerceptual, LPIPS, scope, VQGAN } from "../../../mod.ts";
import {
  drawCartoonFace,
  embedding,
  type Picture,
  Random,
  tensor,
  toFloats,
  toPictures,
} from "../../../mod.ts";
import type { Tensor } from "../../../mod.ts";
import { palette, Sketch } from "./sketch.ts";

const path = fileURLToPath(new URL("../../../models/faces.safetensors", import.meta.url));

/** Equation (1) of Zhang et al. with all weights 1: the vectors at each pixel of each level, scaled to length 1, are compared. */
export function featureDistance(model: VQGAN, a: Tensor, b: Tensor): Tensor {
  const levels = model.config.ddconfig.chMult.map((_, level) => `encoder.down.${level}.block.0`);
  const features = (x: Tensor) => captureOutputs(model, levels, () => model.encoder.call(x)).outputs;
  return scope(() => {
    const unit = (x: Tensor) => x.div(x.square().sum(3, true).add(1e-10).sqrt());
    const [left, right] = [features(a), features(b)];
    const distances = levels.map((level) => {
      return unit(left.get(level)!).sub(unit(right.get(level)!)).square().sum(3).mean();
    });
    return distances.reduce((sum, d) => sum.add(d));
  });
}

/** x, moved by a few pixels. What leaves at one border comes in at the other. */
export function moved(x: Tensor, down: number, right: number): Tensor {
  const [, height, width] = x.shape;
  const from = Int32Array.from({ length: height * width }, (_, i) => {
    const row = Math.floor(i / width) - down, column = i % width - right;
    return (row + height) % height * width + (column + width) % width;
  });
  return embedding(tensor(from), x.reshape(-1, 3)).reshape(...x.shape);
}

/** The mean of all pictures that are moved by up to two pixels. */
export function blurred(x: Tensor): Tensor {
  const steps = [-2, -1, 0, 1, 2], all = steps.flatMap((down) => steps.map((right) => moved(x, down, right)));
  return scope(() => all.reduce((sum, each) => sum.add(each)).mul(1 / all.length));
}

export const squaredError = (a: Tensor, b: Tensor): Promise<number> =>
  scope(() => a.sub(b).square().mean()).item();

/** A picture and four spoilt ones of equal squared error, by name. */
async function pictures(size: number): Promise<Map<string, Tensor>> {
  const x = tensor(toFloats(await drawCartoonFace(8, size)), [1, size, size, 3]), blur = blurred(x);
  const error = await squaredError(x, blur);
  const add = async (what: Tensor) => x.add(what.mul(Math.sqrt(error / await what.square().mean().item())));
  const rows = Array.from({ length: size }, (_, i) => i % 8 < 4 ? 1 : -1);
  return new Map([
    ["the picture", x],
    ["darker", await add(tensor([-1]))],
    ["noise", await add(new Random(1).normal(x.shape))],
    ["stripes", await add(tensor(rows, [size, 1, 1]))],
    ["blurred", blur],
  ]);
}

export async function draw(): Promise<Picture> {
  const model = await VQGAN.load(path), size = model.config.ddconfig.resolution;
  const all = await pictures(size), original = all.get("the picture")!;
  const sketch = await Sketch.of(990, 274), side = 186;
  for (const [i, [name, x]] of [...all].entries()) {
    const left = 10 + 196 * i;
    sketch.text(name, left, 22, { bold: true });
    await sketch.picture(toPictures(await x.floats(), x.shape)[0], left, 34, (side + 0.01) / size);
    if (x === original) continue;
    const psnr = -10 * Math.log10(await squaredError(x, original) / 4); // numbers from 0 to 1: half the difference
    const distance = featureDistance(model, x, original);
    sketch.text(`PSNR ${psnr.toFixed(1)} dB`, left, 242, { size: 13 });
    sketch.text(`by features ${(await distance.item()).toFixed(2)}`, left, 262, {
      size: 13,
      color: palette.blue,
    });
  }
  model.dispose();
  return await sketch.render();
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const { net, files } = await findPerceptual(process.argv.slice(2)), lpips = new LPIPS(net);
  await loadPerceptual(lpips, files);
  const all = await pictures(128), original = all.get("the picture")!;
  for (const [name, x] of all) {
    console.log(`LPIPS (${net}) of ${name}: ${(await lpips.call(original, x).item()).toFixed(3)}`);
  }
}
