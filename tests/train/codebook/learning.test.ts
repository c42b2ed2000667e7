// What moves the codes instead of Adam, against torch in float64; and that a run with it resumes with the same bits.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VectorQuantizer, VQGAN } from "../../../nn/index.ts";
import { asyncScope, backward, noGrad, Random, scope, tensor } from "../../../src/index.ts";
import { Adam } from "../../../train/adam.ts";
import { EmaCodes } from "../../../train/codebook/ema.ts";
import { MappedCodes } from "../../../train/codebook/simvq.ts";
import { passOf } from "../../../train/codebook/options.ts";
import {
  beginRun,
  type CodebookOptions,
  defaultCodebook,
  type NewRun,
  openCheckpoint,
  resumeRun,
  train,
  Trainer,
} from "../../../mod.ts";
import { describeDevices } from "../../support/devices.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { filled, golden } from "../../support/goldens.ts";
import { drawn, maxError } from "../../support/numbers.ts";
import { expectSameBits, finish, metricsOf, runFixture } from "../../support/runs.ts";
import { smallConfig } from "../../support/small_model.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

interface Golden {
  readonly ema: Readonly<
    Record<"nearest" | "normalized", {
      readonly decay: number;
      readonly sizes: number[];
      readonly sums: number[];
      readonly codes: number[];
    }>
  >;
  readonly simvq: { readonly lr: number; readonly matrix: number[]; readonly codes: number[] };
}
const wanted = golden<Golden>("codebook/expected");

function quantizer(normalized = false): VectorQuantizer {
  const made = new VectorQuantizer(11, 6, { beta: 0.25, legacyBeta: false, normalized }, null);
  made.codebook.write(filled("quantize.embedding.weight", [11, 6]));
  return made;
}

describeDevices("running averages", () => {
  for (const kind of ["nearest", "normalized"] as const) {
    test(`of ${kind} codes over three steps of two batches`, () =>
      expectNoLeak(async () => {
        const { decay, sizes, sums, codes } = wanted.ema[kind];
        const quantize = quantizer(kind === "normalized"), averages = new EmaCodes(quantize, decay);
        for (let step = 0; step < 3; step++) {
          await asyncScope(async () => {
            const z = [0, 1].map((batch) => drawn(`z${step}.${batch}`, [2, 4, 5, 6]));
            await averages.afterStep(z, z.map((z) => quantize.encode(z)));
          });
        }
        const kept = averages.tensors();
        expect(maxError(await kept.get("sizes")!.floats(), sizes)).toBeLessThan(1e-5);
        expect(maxError(await kept.get("sums")!.floats(), sums)).toBeLessThan(1e-5);
        expect(maxError(await quantize.codebook.floats(), codes)).toBeLessThan(1e-5);
        averages.dispose();
        quantize.dispose();
      }));
  }

  test("begin with the codes of the first step, and count a code that was moved as an average one", () =>
    expectNoLeak(async () => {
      const quantize = quantizer(), averages = new EmaCodes(quantize, 0.5);
      averages.tensors(); // as before a checkpoint is written
      quantize.codebook.write(Float32Array.from({ length: 66 }, (_, i) => i)); // as k-means does
      await asyncScope(() =>
        averages.afterStep([tensor([0, 1, 2, 3, 4, 5], [1, 1, 1, 6])], [tensor(Int32Array.of(0), [1, 1, 1])])
      );
      const kept = averages.tensors(), sizes = await kept.get("sizes")!.floats();
      expect([...sizes]).toEqual([1, ...Array(10).fill(0.5)]);
      const codes = await quantize.codebook.floats();
      expect(maxError(codes.slice(0, 6), [0, 1, 2, 3, 4, 5])).toBeLessThan(1e-3);
      quantize.codebook.write(Float32Array.of(1, 1, 2, 2, 3, 3), 6);
      await averages.moved([1]);
      expect((await kept.get("sizes")!.floats())[1]).toBeCloseTo(6 / 11, 6);
      expect([...(await kept.get("sums")!.floats()).slice(6, 12)].map((v) => Math.fround(v * 11 / 6)))
        .toEqual([1, 1, 2, 2, 3, 3]);
      averages.dispose();
      quantize.dispose();
    }));

  test("leave a frozen codebook as it is", () =>
    expectNoLeak(async () => {
      const quantize = quantizer(),
        averages = new EmaCodes(quantize, 0.5),
        before = await quantize.codebook.floats();
      quantize.setRequiresGrad(false);
      await asyncScope(async () => {
        const z = drawn("z", [1, 2, 2, 6]);
        await averages.afterStep([z], [quantize.encode(z)]);
      });
      expect(await quantize.codebook.floats()).toEqual(before);
      averages.dispose();
      quantize.dispose();
    }));
});

describeDevices("one linear map of all codes", () => {
  test("follows Adam over three steps, and moves codes that were not chosen", () =>
    expectNoLeak(async () => {
      const { lr, matrix, codes } = wanted.simvq;
      const quantize = quantizer(), map = new MappedCodes(quantize);
      const adam = new Adam(quantize.namedParameters("quantize"), { lr });
      for (let step = 0; step < 3; step++) {
        scope(() => backward(quantize.call(drawn(`z${step}`, [2, 4, 5, 6])).loss));
        map.beforeUpdate(adam);
        expect(quantize.codebook.grad).toBe(null);
        adam.step(); // which finds nothing to do
      }
      expect(adam.state().size).toBe(0);
      expect(maxError(await map.tensors().get("matrix")!.floats(), matrix)).toBeLessThan(1e-5);
      expect(maxError(await quantize.codebook.floats(), codes)).toBeLessThan(1e-5);
      expect(() => map.moved([1])).toThrow("all codes move together");
      map.dispose();
      quantize.dispose();
    }));
});

test("a trainer moves the codes by them, and by nothing else", () =>
  expectNoLeak(async () => {
    for (const learning of ["ema", "simvq"] as const) {
      const model = new VQGAN(smallConfig({ perceptualWeight: 0 }), new Random(1), { withLoss: true });
      const trainer = new Trainer(model, { learningRate: () => 1e-3, codebook: { learning } });
      const before = await model.quantize.codebook.floats();
      await asyncScope(async () => {
        const images = [1, 2].map((seed) => new Random(seed).uniform([2, 16, 16, 3], -1, 1));
        const { latents, indices } = await trainer.trainStep(images);
        expect(latents.map(({ shape }) => shape)).toEqual([[2, 8, 8, 32], [2, 8, 8, 32]]);
        expect(indices.map(({ shape }) => shape)).toEqual([[2, 8, 8], [2, 8, 8]]);
      });
      expect(await model.quantize.codebook.floats()).not.toEqual(before);
      expect(trainer.optimizers.generator.state().has("quantize.embedding.weight")).toBe(false);
      expect(trainer.states.map(({ name }) => name)).toEqual([`codebook_${learning}`]);
      trainer.dispose();
      model.dispose();
    }
  }));

test("the defaults are taming's: the same bits as without options", () =>
  expectNoLeak(async () => {
    const bits: Float32Array[] = [];
    for (const codebook of [undefined, passOf(defaultCodebook)] as const) {
      const model = new VQGAN(smallConfig({ perceptualWeight: 0 }), new Random(1), { withLoss: true });
      const { movesCodes: _, ...options } = codebook ?? { movesCodes: true };
      const trainer = new Trainer(model, {
        learningRate: () => 1e-3,
        ...codebook ? { codebook: options } : {},
      });
      await asyncScope(async () =>
        void await trainer.trainStep([new Random(3).uniform([2, 16, 16, 3], -1, 1)])
      );
      bits.push(await model.encoder.conv_in.weight.floats(), await model.quantize.codebook.floats());
      trainer.dispose();
      model.dispose();
    }
    expect(bits[2]).toEqual(bits[0]);
    expect(bits[3]).toEqual(bits[1]);
  }));

const folder = await mkdtemp(join(tmpdir(), "tessera-learning-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const { newRun } = await runFixture(folder);

/** A run with options of the codebook. */
function run(codebook: Partial<CodebookOptions>, steps = 6, start?: NewRun["start"]): NewRun {
  const options = newRun({ steps, codebook: { ...defaultCodebook, ...codebook } });
  return start ? { ...options, start } : options;
}

const kinds: Readonly<Record<string, Partial<CodebookOptions>>> = {
  "averages, moving codes": { learning: "ema", emaDecay: 0.9, restartEvery: 2, restartBelow: 0.2 },
  "one map, rotation": { learning: "simvq", gradient: "rotation" },
  "entropy": { entropyWeight: 0.1, entropyTemperature: 0.1 },
};
for (const [name, codebook] of Object.entries(kinds)) {
  test(`${name}: a run that was interrupted has the bits and the numbers of one that was not`, async () => {
    const whole = await finish(await beginRun(run(codebook)));
    const part = await finish(await beginRun(run(codebook, 3)));
    await finish(await resumeRun(part, { steps: 6 }));
    await expectSameBits(whole, part);
    const steps = (await metricsOf(part)).filter((m) => m["train/rec_loss"] !== undefined);
    const numbers = (m: typeof steps[0]) => Object.entries(m).filter(([key]) => key.startsWith("train/"));
    const all = (await metricsOf(whole)).filter((m) => m["train/rec_loss"] !== undefined);
    expect(steps.map(numbers)).toEqual(all.map(numbers));
    expect(steps.at(-1)!["train/codebook_tokens"]).toBe(64); // 16 codes
  });
}

test("the files of all of them are plain codebooks, and a checkpoint's codebook begins anew only if asked", async () => {
  const from = join(
    await finish(await beginRun(run({ learning: "ema" }, 1))),
    "checkpoints/last.safetensors",
  );
  const file = await openCheckpoint(from);
  const keys = [...file.tensors.keys()].filter((key) => key.startsWith("quantize"));
  await file.close();
  expect(keys).toEqual(["quantize.embedding.weight"]);
  const codesAfter = async (codebook: Partial<CodebookOptions>) => {
    const begun = await beginRun({ ...run(codebook, 1, { from }), perceptual: "none" });
    const before = await begun.trainer.model.quantize.codebook.floats();
    const { model } = begun.trainer;
    const logged: string[] = [];
    await train(begun, { monitor: { update: () => {}, log: (text) => void logged.push(text) } });
    const after = noGrad(() => model.quantize.codebook.detach());
    const moved = maxError(await after.floats(), before);
    after.dispose();
    begun.trainer.dispose();
    model.dispose();
    return {
      moved,
      said: logged.some((text) => text.includes("k-means of 128 vectors of the loaded encoder")),
    };
  };
  expect(await codesAfter({})).toMatchObject({ said: false });
  const anew = await codesAfter({ kmeans: true });
  expect(anew.said).toBe(true);
  expect(anew.moved).toBeGreaterThan(0.01);
});
