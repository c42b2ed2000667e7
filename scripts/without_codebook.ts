// Trains a model for some steps without its codebook, as a plain autoencoder. Vectors that go through a codebook soon use few
// directions, because the commitment loss shrinks all in which vectors differ less than codes can tell
// (docs/book/5-codebook.md). Without a codebook new directions grow. Afterwards `tessera finetune --kmeans --from OUT` begins a
// codebook that uses them.
//   deno run -A scripts/without_codebook.ts FROM OUT.safetensors PICTURES STEPS [BACKBONE HEADS]      (the files of LPIPS)
// Prints rec_loss and the variance of the vectors in their main directions, largest first, every 50 steps.
import process from "node:process";
import {
  asyncScope,
  augmentStrengths,
  full,
  ImageDataset,
  loadPerceptual,
  saveWeights,
  tensor,
  Trainer,
  VQGAN,
} from "../mod.ts";
import { principalAxes } from "./principal_axes.ts";

const [from, out, data, count, backbone, heads] = process.argv.slice(2), steps = Number(count);
if (!data || !(steps > 0)) throw new Error("FROM, OUT, PICTURES and STEPS are needed");
const model = await VQGAN.load(from, { withLoss: true, config: { lossconfig: { discStart: steps } } });
const lpips = model.loss!.perceptual_loss;
if (lpips && backbone) await loadPerceptual(lpips, { backbone, heads });
const { resolution } = model.config.ddconfig, { embedDim } = model.config;
const pictures = await ImageDataset.open(data, { size: resolution, flip: true, augment: augmentStrengths });

// vectors pass as they are; tokens are only for the logs
model.quantize.call = (z) => ({
  quantized: z,
  loss: full([], 0, z.backend),
  indices: model.quantize.encode(z),
});

const rate = (step: number) => 4e-4 * Math.min(1, (step + 1) / 100);
const trainer = new Trainer(model, { learningRate: rate, update: { ema: 0.998 } });
for await (const { pixels, shape } of pictures.batches(1)) {
  await asyncScope(async () => {
    const { logs, latents } = await trainer.trainStep([tensor(pixels, shape)]);
    if (trainer.step % 50 !== 0) return;
    const loss = await logs["train/rec_loss"].item(),
      axes = principalAxes(await latents[0].floats(), embedDim);
    console.log(
      `step ${trainer.step}: rec_loss ${loss.toFixed(3)}, variances ${
        axes.map(({ variance }) => variance.toPrecision(2)).join(" ")
      }`,
    );
  });
  if (trainer.step >= steps) break;
}
await trainer.evaluate(() => saveWeights(out, model));
