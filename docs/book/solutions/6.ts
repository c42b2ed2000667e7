// Chapter 6, LPIPS: `deno run -A docs/book/solutions/6.ts` prints
//   1. moved is nearer than blurred: by pixels false, by features true
//   2. the distance falls by more than half: true, PSNR rises by more than 5 dB: false
//   3. as it is written NaN, by lpipsDistance 0
import { fileURLToPath } from "node:url";
import { adamStep, backward, drawCartoonFace, lpipsDistance, ones, scope } from "../../../mod.ts";
import { type Tensor, tensor, toFloats, VQGAN, zeros } from "../../../mod.ts";
import { blurred, featureDistance, moved, squaredError } from "../../figures/book/eyes.ts";

const model = await VQGAN.load(fileURLToPath(new URL("../../../models/faces.safetensors", import.meta.url)));
model.setRequiresGrad(false);
const face = async (size: number) => tensor(toFloats(await drawCartoonFace(8, size)), [1, size, size, 3]);

// 1. Lines that miss each other by a pixel cost twice, and blur costs little. Features see it the other way round.
const x = await face(64), near = moved(x, 0, 1), blur = blurred(x);
const byPixels = await squaredError(x, near) < await squaredError(x, blur);
const byFeatures =
  await featureDistance(model, x, near).item() < await featureDistance(model, x, blur).item();
console.log(`1. moved is nearer than blurred: by pixels ${byPixels}, by features ${byFeatures}`);

// 2. The picture is the parameter. It gets the features of the face long before its colours: vectors of length 1 do not say how
// bright a pixel is. This is why L1 stays in the loss beside LPIPS.
const wanted = await face(32),
  made = zeros(wanted.shape),
  mean = zeros(wanted.shape),
  square = zeros(wanted.shape);
const measure = async () => {
  const distance = await featureDistance(model, made.detach(), wanted).item();
  return { distance, psnr: -10 * Math.log10(await squaredError(made.detach(), wanted) / 4) };
};
made.requiresGrad = true;
const before = await measure();
for (let step = 1; step <= 60; step++) {
  scope(() => backward(featureDistance(model, made, wanted)));
  adamStep(made, made.grad!, mean, square, { lr: 0.03, beta1: 0.9, beta2: 0.99, eps: 1e-8, step });
  made.grad!.dispose();
  made.grad = null;
}
const after = await measure(), falls = after.distance < before.distance / 2;
const rises = after.psnr > before.psnr + 5;
console.log(`2. the distance falls by more than half: ${falls}, PSNR rises by more than 5 dB: ${rises}`);

// 3. The derivative of the root of 0 is infinite, and 0 times infinity is not a number.
const unit = (t: Tensor) => t.div(t.square().sum(-1, true).sqrt().add(1e-10));
async function gradientAtZero(distance: (a: Tensor, b: Tensor) => Tensor): Promise<number> {
  const a = zeros([1, 1, 1, 4]), b = tensor([1, 0, 0, 0], [1, 1, 1, 4]);
  a.requiresGrad = true;
  scope(() => backward(distance(a, b).sum()));
  return (await a.grad!.floats())[0];
}
const naive = await gradientAtZero((a, b) => unit(a).sub(unit(b)).square());
const safe = await gradientAtZero((a, b) => lpipsDistance(a, b, ones([4])));
console.log(`3. as it is written ${naive}, by lpipsDistance ${safe}`);
model.dispose();
