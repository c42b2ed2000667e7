// The errors for invalid calls of the training, which come before anything is trained or written.
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CodebookUsage, VQGAN } from "../../nn/index.ts";
import { memory, Random, scope, zeros } from "../../src/index.ts";
import {
  Adam,
  type AdamOptions,
  applyGradients,
  beginRun,
  CodeUsage,
  DeadCodeRestart,
  defaultOptions,
  discriminatorStep,
  generatorStep,
  learningRate,
  makeOptimizers,
  type NewRun,
  psnr,
  resumeRun,
  type Run,
  saveWeights,
  ssim,
  train,
  Trainer,
  trainingStep,
  validationStep,
} from "../../train/index.ts";
import { tinyConfig } from "../support/goldens.ts";

/** A value that passes only without a type check. */
const wrong = (value: unknown) => value as never;
const model = new VQGAN(tinyConfig, new Random(1), { withLoss: true });
const images = zeros([1, 8, 8, 3]);
const adam = (options: unknown) => new Adam(model.generatorParameters(), options as AdamOptions);
const trainer = (options: unknown) => new Trainer(model, wrong(options));
const rate = { learningRate: () => 1 }, at = { globalStep: 0 };
const schedule = { lr: 1, warmup: 0, decay: "constant", steps: 10 } as const;
const dot = { width: 1, height: 1, pixels: new Uint8Array(3) };

const synchronous: [string, () => unknown, string][] = [
  ["no learning rate", () => adam({}), "Adam: lr is undefined, expected a number >= 0"],
  ["no options", () => adam(undefined), "Adam: the options are undefined, expected an object"],
  [
    "a misspelt learning rate",
    () => adam({ learningRate: 1 }),
    'Adam: there is no option "learningRate", use lr, betas, eps, weightDecay, decays or rateFactor',
  ],
  [
    "a learning rate that is not a number",
    () => adam({ lr: NaN }),
    "Adam: lr is NaN, expected a number >= 0",
  ],
  [
    "betas out of range",
    () => adam({ lr: 1, betas: [0.9, 1] }),
    "Adam: betas is [0.9, 1], expected two numbers from 0 to below 1",
  ],
  ["one beta", () => adam({ lr: 1, betas: 0.9 }), "Adam: betas is 0.9, expected two numbers"],
  [
    "parameters in a list",
    () => new Adam(wrong([images]), { lr: 1 }),
    "Adam: the parameters are [Tensor [1,8,8,3]",
  ],
  [
    "parameters that are not tensors",
    () => new Adam(wrong(new Map([["a", 1]])), { lr: 1 }),
    "Adam: expected a tensor, got 1",
  ],
  ["a learning rate that became NaN", () => {
    const one = new Adam(new Map([["w", zeros([1])]]), { lr: 1 });
    one.parameters.get("w")!.grad = zeros([1]);
    one.lr = NaN;
    one.step();
  }, "Adam: lr is NaN, expected a number >= 0"],
  [
    "optimizers without a rate",
    () => makeOptimizers(model, wrong(undefined)),
    "Adam: lr is undefined, expected a number >= 0",
  ],
  [
    "a number for a schedule",
    () => trainer({ learningRate: 1e-4 }),
    "Trainer: learningRate is 0.0001, expected a function",
  ],
  [
    "an unknown precision",
    () => trainer({ learningRate: () => 1, precision: "f64" }),
    'precision is "f64", expected "f32" or "f16"',
  ],
  [
    "a misspelt option",
    () => trainer({ learningRate: () => 1, tamingexact: true }),
    'Trainer: there is no option "tamingexact"',
  ],
  [
    "dropout without random numbers",
    () => trainer({ learningRate: () => 1, lpipsDropout: true }),
    "lpipsDropout is true, expected a Random, or null",
  ],
  [
    "an unknown decay",
    () => learningRate({ ...schedule, decay: wrong("step") }, 0),
    'decay is "step", expected "constant", "cosine" or "linear"',
  ],
  [
    "a negative step",
    () => learningRate(schedule, -1),
    "learningRate: the step is -1, expected a whole number >= 0",
  ],
  [
    "no model to train",
    () => new Trainer(wrong(undefined), rate),
    "Trainer: the model is undefined, expected a VQGAN",
  ],
  ["an empty model", () => new Trainer(wrong({}), rate), "Trainer: the model is {  }, expected a VQGAN"],
  [
    "no model for optimizers",
    () => makeOptimizers(wrong({}), 1),
    "makeOptimizers: the model is {  }, expected a VQGAN",
  ],
  [
    "no optimizer",
    () => applyGradients(wrong(undefined)),
    "applyGradients: the optimizer is undefined, expected an Adam",
  ],
  [
    "no model in a step",
    () => generatorStep(wrong(null), images, at),
    "generatorStep: the model is null, expected a VQGAN",
  ],
  [
    "no images in a step",
    () => generatorStep(model, wrong(7), at),
    "generatorStep: expected a tensor, got 7",
  ],
  [
    "a number for options",
    () => generatorStep(model, images, wrong(7)),
    "generatorStep: options is 7, expected an object such as { globalStep: 0 }",
  ],
  [
    "no model for the discriminator",
    () => discriminatorStep(wrong([]), images, images, at),
    "discriminatorStep: the model is [], expected a VQGAN",
  ],
  [
    "no reconstruction",
    () => discriminatorStep(model, images, wrong(undefined), at),
    "discriminatorStep: expected a tensor, got undefined",
  ],
  [
    "no options",
    () => discriminatorStep(model, images, images, wrong(undefined)),
    "discriminatorStep: options is undefined, expected an object such as",
  ],
  [
    "no model to validate",
    () => validationStep(wrong("a.ckpt"), images, 0),
    'validationStep: the model is "a.ckpt", expected a VQGAN',
  ],
  [
    "no images to validate",
    () => validationStep(model, wrong(undefined), 0),
    "validationStep: expected a tensor, got undefined",
  ],
  [
    "no model for restarts",
    () => new DeadCodeRestart(wrong({}), adam({ lr: 1 }), new CodeUsage(16), new Random(1)),
    "DeadCodeRestart: the model is {  }, expected a VQGAN",
  ],
  [
    "no optimizer for restarts",
    () => new DeadCodeRestart(model, wrong({}), new CodeUsage(16), new Random(1)),
    "DeadCodeRestart: the optimizer is {  }, expected an Adam",
  ],
  [
    "a seed for restarts",
    () => new DeadCodeRestart(model, adam({ lr: 1 }), new CodeUsage(16), wrong(3)),
    "DeadCodeRestart: random is 3, expected a Random",
  ],
  [
    "no counts for restarts",
    () => new DeadCodeRestart(model, adam({ lr: 1 }), wrong(new Random(1)), new Random(1)),
    "DeadCodeRestart: usage is a Random",
  ],
  [
    "a tensor for the usage of codes",
    () => new CodeUsage(16).observe(wrong(images)),
    "CodeUsage: the argument of observe is Tensor",
  ],
  [
    "a misspelt option of the codebook",
    () => new Trainer(model, { learningRate: () => 1, codebook: wrong({ learn: "ema" }) }),
    'Trainer: codebook: there is no option "learn", use learning, emaDecay, gradient, entropyWeight',
  ],
  [
    "nothing to count",
    () => new CodebookUsage(4).add(wrong(undefined)),
    "CodebookUsage: the argument of add is undefined, expected an Int32Array",
  ],
  [
    "a fraction to count",
    () => new CodebookUsage(4).add(wrong([1.5])),
    "CodebookUsage: index 1.5 is outside the codebook",
  ],
  [
    "no step",
    () => validationStep(model, images, wrong(undefined)),
    "validationStep: globalStep is undefined, expected a whole",
  ],
  [
    "RGBA in psnr",
    () => psnr(dot, { ...dot, pixels: new Uint8Array(4) }),
    "psnr: 4 bytes for 1x1 RGB, expected 3; fromRgba()",
  ],
  ["no picture in ssim", () => ssim(dot, wrong(null)), "ssim: got null, expected a picture"],
];

const run = (changes: object, options: object = {}): Promise<Run> =>
  beginRun({
    start: { from: "nothing.ckpt" },
    perceptual: "none",
    out: join(tmpdir(), "tessera-never"),
    options: { ...defaultOptions, data: ["faces/"], lr: 1e-3, name: "x", ...options },
    ...changes,
  } as NewRun);
const step = (batches: unknown, options: unknown = { globalStep: 0 }, apply: unknown = () => {}) =>
  trainingStep(model, wrong(batches), wrong(options), wrong(apply));
const here = join(tmpdir(), "tessera-weights");

const asynchronous: [string, () => Promise<unknown>, string][] = [
  [
    "a tensor instead of batches",
    () => new Trainer(model, { learningRate: () => 1 }).trainStep(wrong(images)),
    "trainStep: the batches are Tensor [1,8,8,3] f32 on cpu",
  ],
  [
    "no model",
    () => trainingStep(wrong(undefined), [images], { globalStep: 0 }, () => {}),
    "trainingStep: the model is undefined, expected a VQGAN",
  ],
  [
    "no batches",
    () => step([]),
    "trainingStep: the batches are [], expected a list of tensors, such as [images]",
  ],
  [
    "no step",
    () => step([images], {}),
    "trainingStep: globalStep is undefined, expected a whole number >= 0",
  ],
  [
    "a misspelt option",
    () => step([images], { globalStep: 0, gradscale: 1 }),
    'there is no option "gradscale", use globalStep',
  ],
  [
    "no function to apply",
    () => step([images], { globalStep: 0 }, null),
    "trainingStep: apply is null, expected a function",
  ],
  [
    "weights without an ending",
    () => saveWeights(here, model),
    `saveWeights: ${here} does not end in .safetensors`,
  ],
  [
    "weights with a torch ending",
    () => saveWeights(`${here}.ckpt`, model),
    "convertCheckpoint() writes the format that",
  ],
  [
    "weights of an unsupported type",
    () => saveWeights(`${here}.safetensors`, model, wrong({ dtype: "bf16" })),
    'dtype is "bf16", expected "f32" or "f16"',
  ],
  [
    "no start",
    () => run({ start: undefined }),
    "beginRun: start is undefined, expected { from: checkpoint } or { scratch: config }",
  ],
  [
    "a path instead of a start",
    () => run({ start: "last.ckpt" }),
    'beginRun: start is "last.ckpt", expected { from: checkpoint }',
  ],
  [
    "a misspelt start",
    () => run({ start: { from: "a", goon: true } }),
    'beginRun: start: there is no option "goon"',
  ],
  [
    "a path instead of a list of files",
    () => run({ perceptual: "vgg.pth" }),
    'perceptual is "vgg.pth", expected a list of files, "inside", "none" or "auto"',
  ],
  [
    "a misspelt option",
    () => run({}, { learningRate: 1 }),
    'beginRun: there is no option "learningRate", use data, steps',
  ],
  [
    "a learning rate of 0",
    () => run({}, { lr: 0 }),
    "beginRun: lr is 0, expected a number above 0",
  ],
  [
    "a path instead of a list of data",
    () => run({}, { data: "faces/" }),
    'beginRun: data is "faces/", expected a list of strings',
  ],
  [
    "no data",
    () => run({}, { data: [] }),
    "beginRun: data names no pictures: pass a folder, a glob or a list",
  ],
  [
    "an unknown decay",
    () => run({}, { decay: "step" }),
    'beginRun: decay is "step", expected "constant", "cosine" or "linear"',
  ],
  [
    "all pictures for validation",
    () => run({}, { val: 1 }),
    "beginRun: val is 1, expected a folder, a fraction from 0 to below 1, or null",
  ],
  [
    "an option that cannot be changed",
    () => resumeRun("runs/x", wrong({ size: 32 })),
    'resumeRun: there is no option "size", use steps, data',
  ],
  [
    "the perceptual network of the file for a run that has it",
    () => resumeRun("runs/x", wrong({ perceptual: "inside" })),
    'resumeRun: perceptual is "inside", expected a list of files, or "none"',
  ],
  [
    "a name that leaves the folder",
    () => run({}, { name: "../faces" }),
    'beginRun: name is "../faces", expected a name without slashes',
  ],
  [
    "a monitor whose note is no function",
    () => train(wrong({}), wrong({ monitor: { update() {}, log() {}, note: 3 } })),
    "train: monitor is { update, log, note }, expected an object with",
  ],
  [
    "a path instead of data",
    () => resumeRun("runs/x", { data: wrong("a") }),
    'resumeRun: data is "a", expected a list of strings',
  ],
  [
    "a monitor without log",
    () => train(wrong({}), wrong({ monitor: { update() {} } })),
    "train: monitor is { update }, expected an object with",
  ],
  [
    "a text instead of a signal",
    () => train(wrong({}), wrong({ signal: "stop" })),
    'train: signal is "stop", expected an AbortSignal',
  ],
  [
    "a word for a signal",
    () => run({ loading: { signal: "stop" } }),
    'beginRun: loading: signal is "stop", expected an AbortSignal',
  ],
];

describe("wrong arguments", () => {
  for (const [name, call, message] of synchronous) {
    test(`${name}: ${message}`, () => expect(() => scope(call)).toThrow(message));
  }
  for (const [name, call, message] of asynchronous) {
    test(`${name}: ${message}`, async () => await expect(call()).rejects.toThrow(message));
  }

  test("leave nothing behind", async () => {
    const names = await readdir(tmpdir());
    expect(names.filter((name) => /^tessera-(never|weights)/.test(name))).toEqual([]);
  });
});

test("beginning a run stops when it is aborted, before a folder is made", async () => {
  const count = memory().liveTensors, stop = new AbortController();
  const loading = { signal: stop.signal, onProgress: () => stop.abort(new Error("enough")) };
  const start = { from: "models/faces.safetensors" }, options = { data: ["docs/faces.jpg"] };
  await expect(run({ start, loading }, options)).rejects.toThrow("enough");
  expect(memory().liveTensors).toBe(count);
});
