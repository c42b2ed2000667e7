// Checkpoints that the authors' own stack wrote, against what that stack computes from them: tokens, pictures, both Adams,
// and the steps by which Lightning goes on. Needs no Python: the numbers are in fixtures/authors.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFile, mkdtemp, readdir, readFile, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { momentName } from "../../data/formats/state_dict_keys.ts";
import { type AdamState, trainingState } from "../../data/formats/training.ts";
import { configOf, convertCheckpoint, readImage, toFloats } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { asyncScope, device, tensor } from "../../src/index.ts";
import { saveWeights } from "../../train/index.ts";
import { tessera } from "../support/commands.ts";
import { withFile } from "../support/with_file.ts";
import {
  copyPictures,
  expected,
  expectLosses,
  expectSame,
  fixture,
  type Inference,
  learntIn,
  type LogName,
  type Losses,
  makeLogFolder,
  reconstruct,
  rms,
  type Summary,
  summary,
  unpack,
} from "./fixtures.ts";

setDefaultTimeout(300_000); // Bun gives a test five seconds, too few on a busy machine

type Inferences = Record<string, Inference>;

interface Lightning108 {
  readonly inference: Inferences;
  readonly start: {
    readonly epoch: number;
    readonly global_step: number;
    /** Of each optimizer, the counts that its parameters have. */
    readonly adam_steps: number[][];
    readonly lr: number[];
    readonly parameters: number[];
    readonly tensors: Record<string, Summary>;
  };
}

interface Continued {
  readonly rounding_noise: string[];
  readonly adam_steps: number[][];
  readonly losses_float64: Losses[];
  /** With the part of its norm by which torch's own float32 differs. */
  readonly tensors_float64: Record<string, Summary & { readonly torch_float32_differs_by: number | null }>;
}

/** The sum and the sum of squares. */
type Sums = [number, number];

interface Fork140 {
  readonly inference: Inferences;
  readonly start: {
    readonly epoch: number;
    readonly global_step: number;
    readonly sum_and_sum_of_squares_of_weights: Record<string, Sums>;
    readonly adam: Record<string, { step: number; exp_avg: Sums; exp_avg_sq: Sums }>[];
  };
}

const folder = await mkdtemp(join(tmpdir(), "tessera-authors-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const names = ["lightning108", "fork140"] as const;
const logs = (name: LogName) => join(folder, name);
await copyPictures(folder);
const checkpoints = {
  lightning108: await unpack("lightning108", logs("lightning108")),
  fork140: await unpack("fork140", logs("fork140")),
};
const checkpoint = (name: LogName) => checkpoints[name];

describe("tokens and pictures", () => {
  for (const name of names) {
    test(`of ${name}`, async () => {
      const { inference } = expected<{ inference: Inferences }>(name);
      const model = await VQGAN.load(checkpoint(name));
      for (const [picture, theirs] of Object.entries(inference)) {
        expectSame(await reconstruct(model, fixture(picture)), theirs);
      }
      model.dispose();
    });
  }

  test("of a model with remap: tokens as taming numbers them, also after conversions and saving", async () => {
    const { picture, used, raw_ids, remapped_ids } = expected<{
      readonly picture: string;
      readonly used: number[];
      readonly raw_ids: number[];
      /** null where the nearest code has no token; taming draws one at random there. */
      readonly remapped_ids: (number | null)[];
    }>("remap");
    const original = fixture("remap.ckpt"), path = fixture(`pictures/${picture}`);
    const converted = join(folder, "remap.safetensors"), again = join(folder, "remap.ckpt");
    await withFile(original, async (file) => void await convertCheckpoint(file, converted, configOf(file)));
    await withFile(converted, async (file) => void await convertCheckpoint(file, again, configOf(file)));
    const saved = join(folder, "remap-weights.safetensors"), first = await VQGAN.load(original);
    await saveWeights(saved, first);
    first.dispose();
    for (const file of [original, converted, again, saved]) {
      const model = await VQGAN.load(file), seen = await reconstruct(model, path);
      expect([model.vocabulary, model.config.nEmbed]).toEqual([used.length, 64]);
      expect(seen.ids.map((id, i) => remapped_ids[i] === null ? null : id)).toEqual(remapped_ids);
      // decoding takes these tokens: where a code has one, its pixels are those of the code
      expect(seen.ids.flatMap((id, i) => remapped_ids[i] === null ? [] : [used[id] - raw_ids[i]])).toEqual(
        remapped_ids.flatMap((id) => id === null ? [] : [0]),
      );
      // latents are those of all codes, as in taming
      await asyncScope(async () => {
        const { pixels, width, height } = await readImage(path);
        const { latents } = model.encode(tensor(toFloats(pixels), [1, height, width, 3]));
        const raw = model.quantize.lookup(tensor(Int32Array.from(raw_ids), latents.shape.slice(0, -1)));
        expect(await latents.floats()).toEqual(await raw.floats());
        const own = model.quantize.lookup(tensor(Int32Array.from(used)));
        expect(
          await model.quantize.lookup(tensor(Int32Array.from(used.keys())), model.quantize.used).floats(),
        ).toEqual(
          await own.floats(),
        );
      });
      expect(() => model.decodeTokens([used.length], [1, 1])).toThrow("is not in 0..21");
      model.dispose();
    }
    const flax = withFile(original, (file) => convertCheckpoint(file, join(folder, "flax"), configOf(file)));
    await expect(flax).rejects.toThrow("only 22 of its codes have a token (remap)");
  });
});

/** Of each optimizer, the counts that its parameters have. */
function stepsOf(optimizers: readonly AdamState[]): number[][] {
  return optimizers.map(({ moments }) => [...new Set([...moments.values()].map(({ step }) => step))]);
}

/** Expects sums that differ by no more than the order of summing can make. */
function expectSums({ sum, sum_of_squares }: Omit<Summary, "values">, theirs: Sums): void {
  expect(Math.abs(sum - theirs[0])).toBeLessThan(1e-10);
  expect(Math.abs(sum_of_squares - theirs[1])).toBeLessThan(1e-10);
}

describe("weights and both Adams", () => {
  test("of lightning108", async () => {
    const { start } = expected<Lightning108>("lightning108");
    const { step, epoch, optimizers } = (await withFile(checkpoint("lightning108"), trainingState))!;
    expect([step, epoch, stepsOf(optimizers)]).toEqual([start.global_step, start.epoch, start.adam_steps]);
    expect(optimizers.map(({ lr }) => lr)).toEqual(start.lr);
    expect(optimizers.map(({ moments }) => moments.size)).toEqual(start.parameters);
    const ours = await learntIn(checkpoint("lightning108"));
    expect([...ours.keys()].sort()).toEqual(Object.keys(start.tensors).sort());
    for (const [name, theirs] of Object.entries(start.tensors)) {
      const { values, ...sums } = summary(ours.get(name)!);
      expect([name, values]).toEqual([name, theirs.values]);
      expectSums(sums, [theirs.sum, theirs.sum_of_squares]);
    }
  });

  test("of fork140", async () => {
    const { start } = expected<Fork140>("fork140");
    const { step, epoch, optimizers } = (await withFile(checkpoint("fork140"), trainingState))!;
    expect([step, epoch]).toEqual([start.global_step, start.epoch]);
    const ours = await learntIn(checkpoint("fork140"));
    for (const [key, sums] of Object.entries(start.sum_and_sum_of_squares_of_weights)) {
      expectSums(summary(ours.get(key)!), sums);
    }
    for (const [i, adam] of start.adam.entries()) {
      expect([...optimizers[i].moments.keys()].sort()).toEqual(Object.keys(adam).sort());
      for (const [key, theirs] of Object.entries(adam)) {
        expect(optimizers[i].moments.get(key)!.step).toBe(theirs.step);
        expectSums(summary(ours.get(momentName(i, "exp_avg", key))!), theirs.exp_avg);
        expectSums(summary(ours.get(momentName(i, "exp_avg_sq", key))!), theirs.exp_avg_sq);
      }
    }
  });
});

// An input of a ReLU that is nearly 0 lies on either side of its kink by rounding alone, which moves d_weight by a few 1e-5,
// and Adam's first steps make much of small gradients. Tolerances are about three times the errors seen.
const scenarios = [
  {
    name: "continued_3_steps",
    words: ["--resume", logs("lightning108"), "--steps", "15"],
    tolerances: [1e-4, 5e-4, 2e-3],
  },
  {
    name: "continued_2_steps_accumulating_2",
    words: ["--resume", logs("lightning108"), "--steps", "14", "--accumulate", "2"],
    tolerances: [1e-4, 5e-4],
  },
  {
    name: "fresh_optimizers_3_steps",
    words: [
      ...["--from", checkpoint("lightning108"), "--steps", "3", "--disc-start", "0"],
      ...["--base", fixture("vqgan.yaml"), "--data", fixture("train.txt"), "--val", fixture("test.txt")],
    ],
    tolerances: [1e-4, 2e-2, 6e-2],
  },
];

describe("training goes on as Lightning's does", () => {
  let before: boolean | undefined;
  beforeAll(async () => {
    before = (await device("cpu")).exact;
    await device("cpu", { exact: true });
  });
  afterAll(async () => void await device("cpu", { exact: before }));

  for (const { name, words, tolerances } of scenarios) {
    test(name, async () => {
      const theirs = expected<Record<string, Continued>>("lightning108")[name], out = join(folder, name);
      const answer = await tessera(
        ...["finetune", ...words, "--taming-exact", "--log-every", "1", "--val-every", "100", "--out", out],
      );
      expect([answer.code, answer.err]).toEqual([0, ""]);
      const run = join(out, (await readdir(out))[0]), saved = join(run, "checkpoints", "last.safetensors");
      await expectLosses(run, theirs.losses_float64, tolerances);
      const { optimizers } = (await withFile(saved, trainingState))!;
      expect(stepsOf(optimizers)).toEqual(theirs.adam_steps);
      const ours = await learntIn(saved);
      for (const [name, wanted] of Object.entries(theirs.tensors_float64)) {
        if (theirs.rounding_noise.some((key) => name === key || name.endsWith(`.${key}`))) continue;
        const all = ours.get(name)!, { values } = summary(all);
        const error = rms(values.map((v, i) => v - wanted.values[i]));
        const size = Math.sqrt(wanted.sum_of_squares / all.length);
        if (!(error <= (10 * (wanted.torch_float32_differs_by ?? 0) + 1e-4) * size)) {
          throw new Error(`${name} has ${values}, torch's has ${wanted.values}`);
        }
      }
    });
  }
});

describe("finetune --resume reads a log folder as main.py does", () => {
  test("whose run has ended: it says so, with the limit", async () => {
    const answer = await tessera("finetune", "--resume", logs("lightning108"), "--out", join(folder, "none"));
    expect([answer.code, answer.out]).toEqual([2, ""]);
    expect(answer.err).toContain(
      "is at step 12, epoch 3, where its configs end the run (max_epochs 3): to go on",
    );
  });

  test("whose list of pictures is gone: it names the list, the places and the option", async () => {
    const log = join(folder, "elsewhere", "more", "logs", "lightning108");
    await makeLogFolder(log);
    await copyFile(checkpoint("lightning108"), join(log, "checkpoints", "last.ckpt"));
    const answer = await tessera("finetune", "--resume", log, "--steps", "13");
    expect(answer.code).toBe(2);
    expect(answer.err).toContain(
      `train.txt, a list of pictures in the configs of ${log}, is neither in the working folder nor in ` +
        `${join(folder, "elsewhere", "more")} or ${
          join(folder, "elsewhere", "more", "logs")
        }: name the pictures with --data`,
    );
  });

  test("without a last.ckpt: the newest one, with the configs' settings; options win and are announced", async () => {
    const log = logs("fork140"), out = join(folder, "forked");
    await copyFile(checkpoint("fork140"), join(log, "checkpoints", "epoch=1-step=7-v1.ckpt"));
    const older = await withFile(checkpoint("fork140"), (file) => Promise.resolve(file.byteLength >> 1));
    await copyFile(checkpoint("fork140"), join(log, "checkpoints", "epoch=10.ckpt"));
    await truncate(join(log, "checkpoints", "epoch=10.ckpt"), older);
    const more = ["--batch", "1", "--disc-start", "100", "--val", "0", "--steps", "9", "--no-lpips"];
    const answer = await tessera("finetune", "--resume", log, "--out", out, ...more);
    expect([answer.code, answer.err]).toEqual([0, ""]);
    const lines = answer.out.split("\n");
    const configs = (await readdir(join(log, "configs"))).sort().map((name) => join(log, "configs", name));
    expect(lines).toContain(`configs: ${configs.join(", ")}`);
    expect(lines).toContain(`train.txt is not in the working folder; found in ${folder}`);
    for (
      const change of [
        "--batch 1 instead of 2",
        "--disc-start 100 instead of 6",
        "--val 0 instead of test.txt",
      ]
    ) {
      expect(lines).toContain(`${change} in the configs`);
    }
    expect(answer.out).toContain(
      "epoch=1-step=7-v1.ckpt: the newest of 2 checkpoints there, at step 8; left out: ",
    );
    const [run] = await readdir(out);
    expect(run).toMatch(/_fork140$/);
    const settings = JSON.parse(await readFile(join(out, run, "config.json"), "utf8"));
    expect(settings).toMatchObject({
      batch: 1,
      size: 32,
      val: 0,
      lr: 4e-4,
      data: [join(folder, "train.txt")],
    });
    expect(settings.model.lossconfig).toMatchObject({ discStart: 100, discWeight: 0.75, discNdf: 16 });
  });
});

test("a run that goes on with Tessera is refused options that would have no effect", async () => {
  for (
    const [options, message] of [
      ["--codes 5", "--codes only works with --scratch: the model of a checkpoint stays as it is built"],
      ["--disc-weight 0 --guard", "--guard has no effect with --disc-weight 0, which turns the GAN off"],
      ["--restart-below 0.2", "--restart-below has no effect without --restart-dead-codes"],
    ]
  ) {
    const words = [
      "finetune",
      "--resume",
      checkpoint("lightning108"),
      "--data",
      fixture("pictures"),
      "--no-lpips",
      "--steps",
      "20",
    ];
    const { code, err } = await tessera(...words, ...options.split(" "));
    expect([code, err]).toEqual([2, `tessera: ${message}\n`]);
  }
});
