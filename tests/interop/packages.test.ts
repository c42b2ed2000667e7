// Against the packages of today (packages.py): torch, safetensors and flax open what Tessera writes, Tessera opens what
// they write, and training goes on over there and back.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  configOf,
  convertCheckpoint,
  type ConvertOptions,
  isAutoencoder,
  openCheckpoint,
  type StoredTensor,
  tamingOrder,
  toWrite,
  trainingState,
  writeFlax,
  writeTorch,
} from "../../data/index.ts";
import { preset } from "../../data/formats/config.ts";
import { storedBytes } from "../../data/formats/values.ts";
import { VQGAN } from "../../nn/index.ts";
import { Random, tensor } from "../../src/index.ts";
import { continueTrainer, readProgress, saveCheckpoint, Trainer } from "../../train/index.ts";
import { draws } from "../support/numbers.ts";
import { describePython, testDeadline } from "./python.ts";

setDefaultTimeout(testDeadline);

type Described = Record<string, { shape: number[]; dtype: string; sha256: string }>;

async function described(tensors: Iterable<[string, StoredTensor]>): Promise<Described> {
  const result: Described = {};
  for (const [name, t] of tensors) {
    const { shape, dtype } = t;
    const hash = createHash("sha256");
    for (const bytes of storedBytes(toWrite(name, t), await t.read())) hash.update(bytes);
    result[name] = { shape: [...shape], dtype, sha256: hash.digest("hex") };
  }
  return result;
}

async function tensorsOf(path: string, wanted: (key: string) => boolean = () => true): Promise<Described> {
  const file = await openCheckpoint(path);
  try {
    return await described([...file.tensors].filter(([key]) => wanted(key)));
  } finally {
    await file.close();
  }
}

const folder = await mkdtemp(join(tmpdir(), "tessera-interop-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

const tiny = preset("faces", {
  embedDim: 32,
  nEmbed: 16,
  ddconfig: { ch: 32, chMult: [1, 2], resolution: 16, attnResolutions: [8], zChannels: 32 },
  lossconfig: { discStart: 0, discNdf: 8, perceptualWeight: 0 },
});
const lr = 1e-3;
const model = new VQGAN(tiny, new Random(1), { withLoss: true });
const trainer = new Trainer(model, { learningRate: () => lr });
for (let i = 0; i < 2; i++) {
  const { logs, indices, latents } = await trainer.trainStep([tensor(draws(`x${i}`, 768), [1, 16, 16, 3])]);
  for (const t of [...Object.values(logs), ...indices, ...latents]) t.dispose();
}
const nothing = { seed: 0, epoch: 0, position: 0 } as never; // the sampler's state plays no part here
await saveCheckpoint(at("run.safetensors"), trainer, {
  ...{ step: 2, epoch: 1, sampler: nothing, random: nothing, pictures: nothing },
  ...{ hasCodebook: true, first: null, last: null, best: null, samples: null, patience: null, kept: [] },
  settings: { lr, model: tiny } as never,
});
const run = await openCheckpoint(at("run.safetensors"));
const convert = (name: string, options: Partial<ConvertOptions> = {}) =>
  convertCheckpoint(run, at(name), { config: configOf(run).config, ...options });
await convert("ours.ckpt");
await convert("ours.safetensors");
await convert("ours.msgpack");
await convert("ours_f16.safetensors", { optimizers: false, dtype: "f16" });
await convert("ours_f16.msgpack", { dtype: "f16" });
await convert("ours_bf16.ckpt", { optimizers: false, dtype: "bf16" });
await convert("ours_bf16.msgpack", { dtype: "bf16" });
const autoencoder = tamingOrder(run.tensors.keys()).filter(isAutoencoder);
const tensors = autoencoder.map((key) => toWrite(key, run.tensors.get(key)!));
await writeFlax(at("ours_chunked.msgpack"), tensors, configOf(run).config, 1000);
await run.close();
const learnt = [...model.generatorParameters(), ...model.discriminatorParameters()];
const gradient = (key: string, n: number) => Float32Array.from(draws(`gradient of ${key}`, n), (v) => v / 10);
const grads = new Map(learnt.map(([name, { shape, size }]) => {
  return [name, { name, shape, dtype: "f32", data: () => gradient(name, size) } as const];
}));
await writeTorch(at("grads.pt"), grads);

describePython("packages.py", ["torch", "safetensors", "flax", "ml-dtypes"], (job) => {
  test("they open what Tessera writes, bit for bit, torch with weights_only", async () => {
    const seen = job<Record<string, Described>>("read", folder);
    expect(Object.keys(seen).length).toBe(8);
    for (const [name, tensors] of Object.entries(seen)) {
      expect([name, tensors]).toEqual([name, await tensorsOf(at(name))]);
    }
    const autoencoder = await tensorsOf(at("ours.ckpt"), (key) => !key.startsWith("loss."));
    expect(seen["ours.msgpack"]).toEqual(autoencoder);
  });

  test("Tessera opens what they write, bit for bit", async () => {
    job("write", folder);
    const whole = await tensorsOf(at("ours.ckpt"));
    const autoencoder = await tensorsOf(at("ours.ckpt"), (key) => !key.startsWith("loss."));
    for (const name of ["theirs.ckpt", "theirs_legacy.ckpt", "theirs.pth", "theirs.safetensors"]) {
      expect([name, await tensorsOf(at(name))]).toEqual([name, whole]);
    }
    for (const name of ["theirs.msgpack", "theirs_old.msgpack", "theirs_chunked.msgpack"]) {
      expect([name, await tensorsOf(at(name))]).toEqual([name, autoencoder]);
    }
    expect(await tensorsOf(at("theirs_bf16.msgpack"))).toEqual(
      await tensorsOf(at("ours_bf16.ckpt"), (key) => key in autoencoder).then(async (rounded) => ({
        ...rounded,
        // there vectors are rounded too
        ...await tensorsOf(at("theirs_bf16.msgpack"), (key) => rounded[key].shape.length < 2),
      })),
    );
  });

  test("floats of 8 bits have torch's values, all 256 of them", async () => {
    const { tensors, close } = await openCheckpoint(at("theirs_f8.safetensors"));
    for (const name of ["e4m3", "e5m2"]) {
      expect(tensors.get(name)!.dtype).toBe(`f8${name}` as StoredTensor["dtype"]);
      // as numbers: a NaN has many bits
      const [ours, theirs] = [await tensors.get(name)!.read(), await tensors.get(`${name} as f32`)!.read()];
      expect(Array.from(ours, Number)).toEqual(Array.from(theirs, Number));
    }
    await close();
  });

  test("torch.optim.Adam takes Tessera's states, and its step is Tessera's; Tessera goes on from there", async () => {
    job("step", folder);
    for (const [key, parameter] of learnt) {
      parameter.grad = tensor(gradient(key, parameter.size), parameter.shape);
    }
    for (const optimizer of Object.values(trainer.optimizers)) {
      optimizer.step();
      optimizer.zeroGrad();
    }
    const file = await openCheckpoint(at("stepped.ckpt"));
    let worst = 0;
    for (const [key, parameter] of learnt) {
      const theirs = await file.tensors.get(key)!.read(), ours = await parameter.floats();
      ours.forEach((v, i) =>
        worst = Math.max(worst, Math.abs(v - Number(theirs[i])) / Math.max(lr, Math.abs(v)))
      );
    }
    console.log(
      `interop: one Adam step differs by ${
        worst.toExponential(1)
      } of the weight, or of the rate where larger`,
    );
    // either side rounds four times on the way to an update of up to two rates, and then the weight
    expect(worst).toBeLessThan(2 * (4 * 2 + 1) * 2 ** -24);
    const training = (await trainingState(file))!;
    expect(training.step).toBe(3);
    for (const [i, optimizer] of Object.values(trainer.optimizers).entries()) {
      expect(training.optimizers[i]).toMatchObject({ lr, betas: [0.5, 0.9], eps: 1e-8 });
      expect([...training.optimizers[i].moments.keys()]).toEqual([...optimizer.state().keys()]);
      for (const [key, { step, expAvg }] of training.optimizers[i].moments) {
        const ours = optimizer.moments(key), values = await ours.expAvg.floats();
        expect(step).toBe(ours.step);
        const theirs = await expAvg.read();
        const bound = 2 ** -23 / 5; // two roundings of numbers up to 0.1
        expect(values.every((v, i) => Math.abs(v - Number(theirs[i])) <= bound)).toBe(true);
      }
    }
    await file.close();
  });
});

describePython("packages.py", ["torch", "pytorch-lightning"], (job) => {
  test("Lightning goes on from Tessera's checkpoint, and Tessera from Lightning's", async () => {
    const outcome = job<Record<string, unknown>>("lightning", folder);
    // Lightning goes on from 2 batches, and counts the steps of both optimizers
    expect(outcome).toMatchObject({ weights_equal: true, global_step: 4 });
    expect(await readProgress(at("lightning.ckpt"))).toMatchObject({ step: 3, lr });
    const theirs = await tensorsOf(at("lightning.ckpt"));
    expect(theirs).toEqual(await tensorsOf(at("stepped.ckpt")));
    const again = new VQGAN(tiny, null, { withLoss: true });
    const on = new Trainer(again, { learningRate: () => lr });
    await continueTrainer(at("lightning.ckpt"), on);
    expect([on.step, on.optimizers.generator.moments("encoder.conv_in.weight").step]).toEqual([3, 3]);
    on.dispose();
    again.dispose();
  });
});
