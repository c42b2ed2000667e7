// The error messages of wrong calls of the networks, and the errors that are thrown only when tokens are read.
import { describe, expect, test } from "bun:test";
import {
  captureOutputs,
  CodebookUsage,
  LPIPS,
  NLayerDiscriminator,
  VectorQuantizer,
  VQGAN,
} from "../../nn/index.ts";
import { setPrecision } from "../../nn/index.ts";
import { asyncScope, Random, scope, tensor, zeros } from "../../src/index.ts";
import { tinyConfig } from "../support/goldens.ts";
import { expectNoLeak } from "../support/expectations.ts";

/** A value of a wrong type, as a program without type checks may pass it. */
const wrong = (value: unknown) => value as never;
const model = new VQGAN(tinyConfig, new Random(1));
const { factor } = model, { embedDim, nEmbed } = model.config;
const images = (value = 0) =>
  tensor(new Float32Array(4 * factor * factor * 3).fill(value), [1, 2 * factor, 2 * factor, 3]);
const lpips = new LPIPS("squeeze");

const cases: [string, () => unknown, string][] = [
  [
    "init left out",
    () => new VQGAN(tinyConfig, wrong(undefined)),
    "the source of initial values is undefined, expected new",
  ],
  [
    "a seed for init",
    () => new VQGAN(tinyConfig, wrong(7)),
    "the source of initial values is 7, expected new Random(seed)",
  ],
  [
    "a misspelt option",
    () => new VQGAN(tinyConfig, null, wrong({ withLosses: true })),
    'VQGAN: there is no option "withLosses", use withLoss',
  ],
  [
    "an unknown range",
    () => new VQGAN(tinyConfig, null, { range: wrong("0-1") }),
    'range is "0-1", expected "signed" or "unit"',
  ],
  [
    "an unknown half",
    () => new VQGAN(tinyConfig, null, { only: wrong("both") }),
    'only is "both", expected "encoder" or',
  ],
  [
    "integers as images",
    () => model.encode(tensor(new Int32Array(3), [1, 1, 1, 3])),
    "VQGAN: needs a tensor of floats, this one is i32",
  ],
  [
    "pixels as images",
    () => model.encode(wrong(new Uint8Array(3))),
    "VQGAN: expected a tensor, got Uint8Array [0, 0, 0]",
  ],
  [
    "latents of another depth",
    () => model.decode(zeros([1, 2, 2, embedDim + 1])),
    "decode: latents have shape",
  ],
  [
    "a misspelt option",
    () => model.decode(zeros([1, 2, 2, embedDim]), wrong({ grads: true })),
    'decode: there is no option "grads", use grad',
  ],
  [
    "a grid of three",
    () => model.decodeTokens(new Int32Array(8), wrong([2, 2, 2])),
    "decodeTokens: the grid is [2, 2, 2], expected [height, width]",
  ],
  [
    "a grid of fractions",
    () => model.decodeTokens([1, 2], [0.5, 2]),
    "decodeTokens: the grid is [0.5, 2], expected",
  ],
  [
    "a grid of nothing",
    () => model.decodeTokens([1, 2], [0, 2]),
    "decodeTokens: 2 tokens do not fill grids of 0x2",
  ],
  [
    "tokens as floats",
    () => model.decodeTokens(zeros([1, 2, 2])),
    "decodeTokens: the tokens are f32, expected i32: make them with",
  ],
  [
    "tokens in rows",
    () => model.decodeTokens(wrong([[1, 2], [3, 4]]), [2, 2]),
    "token [1, 2] at 0 is not in 0..",
  ],
  [
    "a token outside the codebook",
    () => model.decodeTokens([nEmbed], [1, 1]),
    `token ${nEmbed} at 0 is not in 0..${nEmbed - 1}`,
  ],
  [
    "one token",
    () => model.decodeTokens(wrong(1)),
    "decodeTokens: got 1, expected a list of tokens or an i32 tensor",
  ],
  [
    "a single path instead of a list",
    () => captureOutputs(model, wrong("encoder"), () => 1),
    'the paths are "encoder", expected a list such as',
  ],
  [
    "an unknown network",
    () => new LPIPS(wrong("vgg16")),
    'LPIPS: the network is "vgg16", expected "vgg", "squeeze" or "alex"',
  ],
  [
    "too few taps",
    () => lpips.distance([zeros([1])], []),
    "LPIPS: got the activations of 1 and 0 taps, expected those of 7",
  ],
  [
    "no beta",
    () => new VectorQuantizer(4, 2, wrong({}), null),
    "VectorQuantizer: beta is undefined, expected a number",
  ],
  ["no codes", () => new CodebookUsage(0), "CodebookUsage: nEmbed is 0, expected a whole number >= 1"],
  [
    "no channels",
    () => new NLayerDiscriminator(wrong({ ndf: 8 }), null),
    "NLayerDiscriminator: numLayers is undefined, expected",
  ],
  [
    "weights in an object",
    () => model.loadStateDict(wrong({})),
    "loadStateDict: got {  }, expected a Map of tensors",
  ],
  [
    "numbers for weights",
    () => model.loadStateDict(wrong(new Map([["a", 1]]))),
    "loadStateDict: expected a tensor, got 1",
  ],
  [
    "a word for a switch",
    () => model.setRequiresGrad(wrong("off")),
    'setRequiresGrad: the argument is "off", expected true',
  ],
  [
    "an unknown precision",
    () => setPrecision(model, wrong("f64")),
    'setPrecision: the precision is "f64", expected "f32" or "f16"',
  ],
];

describe("wrong arguments", () => {
  for (const [name, call, message] of cases) {
    test(`${name}: ${message}`, () => {
      expect(() => scope(call)).toThrow(message);
    });
  }

  test("of loading", async () => {
    const load = (source: unknown, options = {}) => VQGAN.load(wrong(source), options);
    await expect(load(undefined)).rejects.toThrow(
      "VQGAN.load: got undefined, expected a path, bytes, a Blob or an open",
    );
    await expect(load(5)).rejects.toThrow("VQGAN.load: got 5, expected a path");
    await expect(load("a", { presicion: "f16" })).rejects.toThrow(
      'VQGAN.load: there is no option "presicion", use withLoss',
    );
    await expect(load("a", { seed: -1 })).rejects.toThrow(
      "VQGAN.load: seed is -1, expected a whole number >= 0",
    );
    await expect(load("a", { signal: true })).rejects.toThrow(
      "VQGAN.load: signal is true, expected an AbortSignal",
    );
  });
});

describe("errors when tokens are read", () => {
  const readings: [string, number[], string][] = [
    [
      "NaN in all pixels",
      new Array(4).fill(NaN),
      "encode: the images (or the weights) hold NaN or infinite values",
    ],
    ["NaN in one pixel", [NaN], "encode: the images (or the weights) hold NaN or infinite values"],
    ["an infinite pixel", [Infinity], "encode: the images (or the weights) hold NaN or infinite values"],
  ];
  for (const [name, values, message] of readings) {
    test(name, () =>
      expectNoLeak(() =>
        asyncScope(async () => {
          const x = images();
          x.write(Float32Array.from(values), 17);
          const { indices } = model.encode(x);
          await expect(indices.ints()).rejects.toThrow(message);
          await expect(indices.reshape(-1).slice([1], [2]).ints()).rejects.toThrow(message);
        })
      ));
  }

  test("values from 0 to 255", () =>
    expectNoLeak(() =>
      asyncScope(async () => {
        await expect(model.encode(images(200)).indices.ints()).rejects.toThrow(
          "encode: the images' values are about 200 large, expected -1 to 1: toFloats() makes them of bytes",
        );
        for (const value of [-1, 0, 1]) {
          expect((await model.encode(images(value)).indices.ints()).length).toBe(4);
        }
      })
    ));

  test("weights that are not finite", async () => {
    const broken = new VQGAN(tinyConfig, new Random(1));
    broken.quant_conv.bias!.write(Float32Array.of(NaN));
    await asyncScope(async () => {
      await expect(broken.encode(images()).indices.ints()).rejects.toThrow(
        "the images (or the weights) hold NaN",
      );
    });
    broken.dispose();
  });
});
