// Turns a face into tokens and back, and does two training steps, with the model of the repository. node.test.ts runs it in
// Node and in the current runtime.
import { fileURLToPath } from "node:url";
import { asyncScope, currentBackend, Random, Trainer, VQGAN } from "../../mod.ts";

const path = fileURLToPath(new URL("../../models/faces.safetensors", import.meta.url));

export interface Journey {
  readonly device: string;
  readonly tokens: readonly number[];
  /** The first values of the picture that was decoded from the tokens. */
  readonly values: readonly number[];
  readonly losses: readonly number[];
}

export async function journey(): Promise<Journey> {
  const model = await VQGAN.load(path, { withLoss: true, config: { lossconfig: { perceptualWeight: 0 } } });
  const trainer = new Trainer(model, { learningRate: () => 1e-4 });
  try {
    return await asyncScope(async () => {
      const images = new Random(1).uniform([1, 64, 64, 3], -1, 1);
      const { indices } = model.encode(images);
      const tokens = [...await indices.ints()];
      const values = [...(await model.decodeTokens(indices).floats()).slice(0, 100)];
      const losses: number[] = [];
      for (let step = 0; step < 2; step++) {
        const { logs } = await trainer.trainStep([images]);
        losses.push(await logs["train/total_loss"].item());
      }
      return { device: currentBackend().description, tokens, values, losses };
    });
  } finally {
    trainer.dispose();
    model.dispose();
  }
}
