// The identity loss: its value is the distance of the faces, its gradient adds to that of the reconstruction loss by its
// weight, and pictures without a face change nothing.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { preset } from "../../data/formats/config.ts";
import { cropPicture, toFloats } from "../../data/pictures/picture.ts";
import { ImageDataset, readImage, savePng } from "../../data/index.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { asyncScope, memory, noGrad, Random, resetPeakBytes, type Tensor, tensor } from "../../src/index.ts";
import { estimateStep, IdentityLoss, loadFaceNetwork, validate } from "../../train/index.ts";
import { generatorStep } from "../../train/step.ts";
import { Trainer } from "../../train/trainer.ts";
import { expectClose, expectNoLeak } from "../support/expectations.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

const before = memory();
const network = await loadFaceNetwork();
afterAll(() => {
  network.dispose();
  expect(memory().liveTensors).toBe(before.liveTensors);
});

const sheet = await readImage(fileURLToPath(new URL("../fixtures/face/faces.png", import.meta.url)));
const picture = (left: number): Tensor =>
  tensor(toFloats(cropPicture(sheet, left, 0, 128, 128).pixels), [1, 128, 128, 3]);
const face = () => picture(0), noFace = () => picture(256);

/** Small, and quick on pictures that are large enough for a face. */
const config = preset("faces", {
  nEmbed: 16,
  embedDim: 8,
  ddconfig: {
    ch: 32,
    chMult: [1, 1, 1, 1],
    numResBlocks: 1,
    resolution: 128,
    attnResolutions: [],
    zChannels: 8,
  },
  lossconfig: { discStart: 9, discNdf: 8, discNumLayers: 1, perceptualWeight: 0 },
});
const newModel = () => new VQGAN(config, new Random(1), { withLoss: true });

/** The gradient at the decoder's last layer, and the logs. */
async function stepOf(model: VQGAN, images: Tensor, weight: number) {
  const identity = weight > 0 ? await new IdentityLoss(network, weight).of(images) : null;
  const { logs, reconstruction } = generatorStep(model, images, { globalStep: 0, identity });
  const gradient = await model.decoder.conv_out.weight.grad!.floats();
  model.zeroGrad();
  const values: Record<string, number> = {};
  for (const [name, t] of Object.entries(logs)) values[name] = await t.item();
  return { gradient, logs: values, reconstruction };
}

test("the loss is the squared distance and the score that is lost, at the original's place, and adds by its weight", async () => {
  const model = newModel();
  await expectNoLeak(() =>
    asyncScope(async () => {
      const images = face();
      const without = await stepOf(model, images, 0), one = await stepOf(model, images, 1);
      const three = await stepOf(model, images, 3);
      const faces = await network.find(images);
      const distance = network.embed(one.reconstruction, faces).sub(network.embed(images, faces)).square()
        .sum();
      const scores = await network.scores(one.reconstruction, faces).floats();
      expect(scores[0]).toBeLessThan(faces[0]!.score); // what an untrained model made is no face
      const wanted = await distance.item() + Math.log(faces[0]!.score) - Math.log(scores[0]);
      expectClose([one.logs["train/identity_loss"]], [wanted], 1e-5 * wanted);
      expectClose([three.logs["train/identity_loss"]], [one.logs["train/identity_loss"]], 1e-6);
      const added = three.logs["train/total_loss"] - without.logs["train/total_loss"];
      expectClose([added], [3 * one.logs["train/identity_loss"]], 1e-5);
      expect("train/identity_loss" in without.logs).toBe(false);

      const by = (step: typeof one) => step.gradient.map((g, i) => g - without.gradient[i]);
      const largest = Math.max(...by(one).map(Math.abs));
      expect(largest).toBeGreaterThan(1e-4);
      expectClose(by(three).map((g) => g / 3), by(one), 1e-3 * largest);
    })
  );
  model.dispose();
});

test("a face that the detector is as certain of as before loses no score", async () => {
  await expectNoLeak(() =>
    asyncScope(async () => {
      const images = face(), term = await new IdentityLoss(network, 1).of(images);
      expect(await term.call(images).item()).toBe(0);
      const brighter = images.mul(0.97), found = await network.find(images);
      const [score] = await network.scores(brighter, found).floats();
      const distance = network.embed(brighter, found).sub(network.embed(images, found)).square().sum();
      const lost = Math.max(0, Math.log(found[0]!.score / score));
      expectClose([await term.call(brighter).item()], [await distance.item() + lost], 1e-5);
    })
  );
});

test("a picture without a face adds nothing", async () => {
  const model = newModel();
  await expectNoLeak(() =>
    asyncScope(async () => {
      const images = noFace();
      const without = await stepOf(model, images, 0), one = await stepOf(model, images, 1);
      expect(one.logs["train/identity_loss"]).toBe(0);
      expect(one.gradient).toEqual(without.gradient);
    })
  );
  model.dispose();
});

test("a validation measures it over all pictures, also those without a face", async () => {
  const model = newModel(), folder = await mkdtemp(join(tmpdir(), "tessera-identity-"));
  const crops = [0, 256].map((left) => cropPicture(sheet, left, 0, 128, 128));
  await Promise.all(crops.map((crop, i) => savePng(join(folder, `${i}.png`), crop)));
  const pictures = await ImageDataset.open(folder, { size: 128, shuffle: false });
  await expectNoLeak(async () => {
    const { identity_loss: one } = await asyncScope(async () => {
      const identity = await new IdentityLoss(network, 1).of(face());
      return {
        identity_loss: await identity.call(noGrad(() => model.forward(face()).reconstruction)).item(),
      };
    });
    const values = await validate(model, pictures, 1, 0, { identity: new IdentityLoss(network, 1) });
    expect(one).toBeGreaterThan(0);
    expectClose([values["val/identity_loss"]], [one / 2], 1e-4);
    expect("val/identity_loss" in await validate(model, pictures, 1, 0)).toBe(false);
  });
  model.dispose();
  await rm(folder, { recursive: true });
});

test("a trainer lowers the distance, holds the memory that is counted beforehand, and frees the network", async () => {
  const shape = { batch: 1, height: 128, width: 128, precision: "f32" } as const;
  const { peak } = await estimateStep(
    { ...config, lossconfig: { ...config.lossconfig, discStart: 0 } },
    shape,
    {
      identity: new IdentityLoss(network, 5),
    },
  );
  resetPeakBytes();
  const { liveBytes } = memory(), model = newModel();
  model.setDiscStart(0);
  await expectNoLeak(async () => {
    const identity = new IdentityLoss(await loadFaceNetwork(), 5);
    const trainer = new Trainer(model, { learningRate: () => 1e-3, identity });
    const losses: number[] = [];
    for (let step = 0; step < 3; step++) {
      await asyncScope(async () => {
        const { logs } = await trainer.trainStep([face()]);
        losses.push(await logs["train/identity_loss"].item());
      });
    }
    expect(Math.abs(peak / (memory().peakBytes - liveBytes) - 1)).toBeLessThan(0.01);
    expect(losses.at(-1)!).toBeLessThan(losses[0]);
    trainer.dispose();
  });
  model.dispose();
});

test("wrong options are refused", () => {
  expect(() => new IdentityLoss(network, 0)).toThrow(
    "IdentityLoss: the weight is 0, expected a number above 0",
  );
  const model = newModel();
  expect(() => new Trainer(model, { learningRate: () => 1, identity: {} as IdentityLoss })).toThrow(
    "Trainer: identity is {  }, expected an IdentityLoss, or null",
  );
  model.dispose();
});
