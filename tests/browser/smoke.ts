// A small VQGAN through all that training does, on the current device; the page runs it in a browser, the test on the CPU.
import { asyncScope, Random, type Tensor } from "../../src/index.ts";
import { preset } from "../../data/formats/config.ts";
import { discriminatorStep, generatorStep } from "../../nn/losses.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { Adam } from "../../train/adam.ts";

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
  const results: Record<string, number[]> = {};
  const keep = async (name: string, t: Tensor) => results[name] = [...await t.data()];
  const optimizers = [model.generatorParameters(), model.discriminatorParameters()]
    .map((parameters) => new Adam(parameters, { lr: 1e-4 }));
  await asyncScope(async () => {
    const images = new Random(4).uniform([2, 16, 16, 3], -1, 1);
    await keep("tokens", model.encode(images).indices);
    await keep("before", model.reconstruct(images));
    for (let step = 0; step < 2; step++) {
      const { logs, reconstruction } = generatorStep(model, images, { globalStep: step });
      optimizers[0].step();
      optimizers[0].zeroGrad();
      const critic = discriminatorStep(model, images, reconstruction, { globalStep: step });
      optimizers[1].step();
      optimizers[1].zeroGrad();
      for (const [name, value] of Object.entries({ ...logs, ...critic })) {
        await keep(`${name} ${step}`, value);
      }
    }
    await keep("after", model.reconstruct(images));
  });
  for (const optimizer of optimizers) optimizer.dispose();
  model.dispose();
  return results;
}
