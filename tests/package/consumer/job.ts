// What the page of pages.test.ts does with @tessera/vqgan/core, in a worker: the small model encodes and decodes a picture
// and takes a training step.
import { asyncScope, device, tensor, Trainer, VQGAN } from "@tessera/vqgan/core";

export interface Results {
  readonly description: string;
  readonly tokens: readonly number[];
  readonly mean: number;
  readonly loss: number;
}

/** @param checkpoint the small model */
export async function job(checkpoint: Blob): Promise<Results> {
  const { description } = await device("cpu");
  const config = { lossconfig: { perceptualWeight: 0 } };
  const model = await VQGAN.load(checkpoint, { withLoss: true, config });
  const trainer = new Trainer(model, { learningRate: () => 1e-4 });
  return await asyncScope(async () => {
    const waves = Float32Array.from({ length: 64 * 64 * 3 }, (_, i) => Math.sin(i / 100));
    const images = tensor(waves, [1, 64, 64, 3]);
    const { indices } = model.encode(images);
    const tokens = [...await indices.ints()], mean = await model.decodeTokens(indices).mean().item();
    const { logs } = await trainer.trainStep([images]);
    return { description, tokens, mean, loss: await logs["train/rec_loss"].item() };
  });
}
