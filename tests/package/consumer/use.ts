// What package.test.ts runs in folders outside the clone, in every runtime: the small model, whose path or address is the
// argument, encodes and decodes a picture and takes two training steps. Prints one line of JSON.
import process from "node:process";
import { asyncScope, device, drawCartoonFace, tensor, toFloats, Trainer, VQGAN } from "@tessera/vqgan";
import * as core from "@tessera/vqgan/core";

const [, , source] = process.argv;
const { description } = await device("cpu");
const model = await VQGAN.load(
  source.startsWith("http") ? await (await fetch(source)).blob() : source,
  { withLoss: true, config: { lossconfig: { perceptualWeight: 0 } } },
);
const trainer = new Trainer(model, { learningRate: () => 1e-4 });
await asyncScope(async () => {
  const images = tensor(toFloats(await drawCartoonFace(7, 64)), [1, 64, 64, 3]);
  const { indices } = model.encode(images);
  const tokens = [...await indices.ints()], mean = await model.decodeTokens(indices).mean().item();
  const losses: number[] = [];
  for (let step = 0; step < 2; step++) {
    losses.push(await (await trainer.trainStep([images])).logs["train/rec_loss"].item());
  }
  const isOneClass = core.VQGAN === VQGAN; // a bundle for each entry would hold two
  console.log(JSON.stringify({ description, tokens, mean, losses, isOneClass }));
});
