// Quantizers by their names: one from outside is made, trained, saved and loaded like those that are here.
import { expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fsq } from "../../../examples/own_quantizer.ts";
import {
  asyncScope,
  convertCheckpoint,
  inspect,
  loadVQGAN,
  openCheckpoint,
  preset,
  type QuantizerKind,
  quantizerNames,
  Random,
  registerQuantizer,
  saveWeights,
  Trainer,
  VQGAN,
} from "../../../mod.ts";
import { beginRun, defaultCodebook, resumeRun } from "../../../train/index.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { expectSameBits, finish, runFixture } from "../../support/runs.ts";
import { smallConfig } from "../../support/small_model.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const config = {
  ...smallConfig({ perceptualWeight: 0 }),
  ...{ quantizer: "fsq", quantizerOptions: { levels: [5, 4, 3] }, nEmbed: 60, embedDim: 3 },
};

test("a name that nobody registered is refused, naming those that there are", () => {
  expect(() => new VQGAN({ ...config, quantizer: "fqs" }, null)).toThrow(
    'there is no quantizer "fqs", but nearest, normalized, gumbel',
  );
  const wrong = (kind: unknown) => () => registerQuantizer(kind as QuantizerKind);
  expect(wrong({ ...fsq, name: "My FSQ" })).toThrow('name is "My FSQ", expected a name of small letters');
  expect(wrong({ ...fsq, make: undefined })).toThrow("make is undefined, expected a function");
  expect(wrong({ ...fsq, name: "nearest" })).toThrow('there is another quantizer "nearest"');
  expect(wrong(3)).toThrow("the argument is 3, expected an object");
  expect(quantizerNames()).toEqual(["nearest", "normalized", "gumbel"]);
});

test("a quantizer of one's own is trained, saved, inspected, converted and loaded", async () => {
  registerQuantizer(fsq);
  registerQuantizer(fsq); // the same one again changes nothing
  const folder = await mkdtemp(join(tmpdir(), "tessera-quantizer-"));
  const at = (name: string) => join(folder, name);
  try {
    await expectNoLeak(async () => {
      const model = new VQGAN(config, new Random(1), { withLoss: true });
      const trainer = new Trainer(model, { learningRate: () => 1e-3 });
      expect([...model.generatorParameters().keys()].filter((key) => key.startsWith("quantize"))).toEqual([]);
      await asyncScope(async () => {
        const images = new Random(2).uniform([1, 16, 16, 3], -1, 1);
        const before = await model.encoder.conv_in.weight.floats();
        await trainer.trainStep([images]);
        expect(await model.encoder.conv_in.weight.floats()).not.toEqual(before);
        const { indices } = model.encode(images), tokens = await indices.ints();
        expect(new Set(tokens).size).toBeGreaterThan(5);
        const picture = await model.decodeTokens(indices).floats();
        await saveWeights(at("own.safetensors"), model);
        const file = await openCheckpoint(at("own.safetensors"));
        await convertCheckpoint(file, at("half.safetensors"), { config });
        await expect(convertCheckpoint(file, at("own.onnx"), { config })).rejects.toThrow(
          'cannot be written for ONNX: how the quantizer "fsq" chooses codes is not known there',
        );
        await expect(convertCheckpoint(file, at("flax"), { config }, "flax")).rejects.toThrow(
          "there is no fsq quantizer there",
        );
        expect(JSON.stringify((await inspect(at("own.safetensors"))).architecture)).toContain(
          '"quantizerOptions":{"levels":[5,4,3]}',
        );
        await file.close();
        for (const name of ["own.safetensors", "half.safetensors"]) {
          const { model: again } = await loadVQGAN(at(name));
          expect(again.config).toEqual(model.config);
          expect(await again.encode(images).indices.ints()).toEqual(tokens);
          expect(await again.decodeTokens(indices).floats()).toEqual(picture);
          again.dispose();
        }
      });
      trainer.dispose();
      model.dispose();
    });
    for (
      const quantizerOptions of [{ levels: 60 }, { levels: [5, 4] }, { levels: [5, 4, 4] }, {
        levels: [5, 12, 1],
      }]
    ) {
      expect(() => new VQGAN({ ...config, quantizerOptions }, null)).toThrow(
        "levels must be 3 whole numbers >= 2 whose product is 60, the number of codes",
      );
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("a run with it needs no k-means, moves no codes, and resumes bit for bit", async () => {
  registerQuantizer(fsq);
  const folder = await mkdtemp(join(tmpdir(), "tessera-quantizer-"));
  try {
    const { newRun } = await runFixture(folder);
    const run = (steps: number) => ({ ...newRun({ steps }), start: { scratch: config } });
    const begun = await beginRun(run(4));
    const codes = await begun.trainer.model.quantize.codebook.floats();
    const whole = await finish(begun);
    const part = await finish(await resumeRun(await finish(await beginRun(run(2))), { steps: 4 }));
    await expectSameBits(whole, part);
    const { model } = await loadVQGAN(join(whole, "checkpoints/last.safetensors"));
    expect(await model.quantize.codebook.floats()).toEqual(codes);
    model.dispose();
    await expect(
      beginRun({
        ...run(2),
        options: { ...run(2).options, codebook: { ...defaultCodebook, gradient: "rotation" } },
      }),
    )
      .rejects.toThrow(
        "FiniteScalarQuantizer has a training pass of its own, so gradient cannot be rotation",
      );
  } finally {
    await rm(folder, { recursive: true });
  }
});

test("every quantizer that is here has taming's options alone", () => {
  for (const quantizer of ["nearest", "normalized"]) {
    expect(() => new VQGAN(preset("faces", { quantizer, quantizerOptions: { levels: 3 } }), null)).toThrow(
      `the quantizer "${quantizer}" has no options, but quantizerOptions has "levels"`,
    );
  }
});

test("directions need at least two numbers", () => {
  expect(() => new VQGAN(preset("faces", { quantizer: "normalized", embedDim: 1 }), null)).toThrow(
    'the quantizer "normalized" needs embedDim >= 2, because a vector of 1 number has only two directions',
  );
});

test("a file whose quantizer refuses its options is named", async () => {
  registerQuantizer(fsq);
  const folder = await mkdtemp(join(tmpdir(), "tessera-quantizer-")), path = join(folder, "own.safetensors");
  try {
    const model = new VQGAN(config, new Random(1));
    await saveWeights(path, model);
    model.dispose();
    const error = await loadVQGAN(path, { config: { quantizerOptions: { levels: [60] } } }).catch(String);
    expect(error).toBe(
      `FormatError: ${path}: fsq: quantizerOptions.levels must be 3 whole numbers >= 2 whose product is 60, the number of ` +
        "codes; its config does not describe a model that can be built",
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});
