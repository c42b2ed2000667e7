// A calculation whose result is known: three training steps of a tiny model. It passes through every kind of layer, forward
// and backward, through the quantizer and through both optimizers.
import { preset } from "../../data/formats/config.ts";
import { VQGAN } from "../../nn/index.ts";
import { asyncScope, Random, tensor } from "../../src/index.ts";
import { Trainer } from "../../train/index.ts";

/** The loss before each step, as the device "gpujs" computes it by the definition of every operation. */
const known = [0.582872, 0.563795, 0.559981];
/** How much of a loss a device may differ. Rounding, and a code that it decides, changed the third by 1.1e-4 so far. */
const tolerance = 1e-3;

const side = 32;
const config = preset("f16-16384", {
  embedDim: 32,
  nEmbed: 64,
  ddconfig: {
    ch: 32,
    chMult: [1, 2],
    numResBlocks: 1,
    attnResolutions: [16],
    resolution: side,
    zChannels: 32,
  },
  lossconfig: { perceptualWeight: 0, discStart: 0 },
});

/** A picture of slopes, from whole numbers so that it is the same everywhere. */
const picture = Float32Array.from({ length: side * side * 3 }, (_, i) => {
  const x = Math.floor(i / 3) % side, y = Math.floor(i / 3 / side);
  return (x * [1, 3, 2][i % 3] + y * [2, 1, 3][i % 3]) % 33 / 16 - 1;
});

/** Trains on the current device. @returns the losses before each step */
export async function knownLosses(): Promise<number[]> {
  const model = new VQGAN(config, new Random(1), { withLoss: true });
  const trainer = new Trainer(model, { learningRate: () => 1e-3 });
  const losses: number[] = [];
  for (let step = 0; step < known.length; step++) {
    await asyncScope(async () => {
      const { logs } = await trainer.trainStep([tensor(picture, [1, side, side, 3])]);
      losses.push(await logs["train/rec_loss"].item());
    });
  }
  for (const owner of [...Object.values(trainer.optimizers), model]) owner.dispose();
  return losses;
}

/** Returns what is wrong with the losses; empty if they are right. */
export function whatIsWrong(losses: readonly number[]): string {
  const wrong = losses.findIndex((loss, i) => !(Math.abs(loss - known[i]) <= tolerance * known[i]));
  return wrong < 0
    ? ""
    : `training step ${wrong + 1} has loss ${losses[wrong]}, which should be ${known[wrong]}`;
}
