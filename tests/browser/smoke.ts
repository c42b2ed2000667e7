// A small VQGAN through all that training does, on the current device; the page runs it in a browser, the test on the CPU.
import { asyncScope, Random, type Tensor } from "../../src/index.ts";
import { preset } from "../../data/formats/config.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { Trainer } from "../../train/trainer.ts";

/** Losses of two steps, tokens, and pictures before and after, by name. */
export async function smoke(): Promise<Record<string, number[]>> {
  const config = preset("faces", {
    nEmbed: 32,
    embedDim: 8,
    ddconfig: {
      ch: 32,
      chMult: [1, 2],
      numResBlocks: 1,
      resolution: 16,
      zChannels: 16,
      attnResolutions: [8],
    },
    lossconfig: { discStart: 0, discNdf: 8, perceptualWeight: 0 },
  });
  const model = new VQGAN(config, new Random(3), { withLoss: true });
  const trainer = new Trainer(model, { learningRate: () => 1e-4 });
  const results: Record<string, number[]> = {};
  const keep = async (name: string, t: Tensor) => results[name] = [...await t.data()];
  await asyncScope(async () => {
    const images = new Random(4).uniform([2, 16, 16, 3], -1, 1);
    await keep("tokens", model.encode(images).indices);
    await keep("before", model.reconstruct(images));
    for (let step = 0; step < 2; step++) {
      const { logs } = await trainer.trainStep([images]);
      for (const [name, value] of Object.entries(logs)) await keep(`${name} ${step}`, value);
    }
    await keep("after", model.reconstruct(images));
  });
  trainer.dispose();
  model.dispose();
  return results;
}
