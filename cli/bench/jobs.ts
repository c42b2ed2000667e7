// The jobs that bench measures: encoding, decoding and a training step, of the small model and of f16-16384.
import { preset, type VQModelConfig } from "../../data/formats/config.ts";
import { VQGAN } from "../../nn/index.ts";
import { CountingBackend } from "../../src/backends/counting.ts";
import { withBackend } from "../../src/device.ts";
import { asyncScope, Random, tensor } from "../../src/index.ts";
import { Trainer } from "../../train/index.ts";

export const jobNames = ["encode", "decode", "training step"] as const;
export type JobName = (typeof jobNames)[number];

/** A model to measure, on one picture. The weights are drawn at random, because the time does not depend on them. */
export interface Subject {
  readonly name: string;
  readonly config: VQModelConfig;
  /** The side of the picture in pixels. */
  readonly size: number;
}

/** The small model, which trains without LPIPS as in the demo, and the published model with all its losses. */
export const subjects: Readonly<Record<"small" | "full", Subject>> = {
  small: {
    name: "small model at 128x128",
    config: preset("faces", { lossconfig: { discStart: 0, perceptualWeight: 0 } }),
    size: 128,
  },
  full: {
    name: "f16-16384 at 256x256",
    config: preset("f16-16384", { lossconfig: { discStart: 0 } }),
    size: 256,
  },
};

/** The jobs of a model that lies in memory. Each call of a job computes once, and waits for the result. */
export interface Jobs extends Record<JobName, () => Promise<void>> {
  dispose(): void;
}

/** Makes the model and its pictures on the current device. @param random draws the weights; null leaves them zero */
export function prepare({ config, size }: Subject, random: Random | null): Jobs {
  const model = new VQGAN(config, random, { withLoss: true });
  if (model.loss?.perceptual_loss) model.loss.perceptual_loss.ready = true; // with random weights
  const trainer = new Trainer(model, { learningRate: () => 1e-6 });
  const draw = new Random(1), side = size / model.factor;
  const images = draw.uniform([1, size, size, 3], -1, 1);
  const tokens = Int32Array.from({ length: side * side }, () => draw.integer(config.nEmbed));
  const indices = tensor(tokens, [1, side, side]);
  return {
    encode: () => asyncScope(async () => void await model.encode(images).indices.ints()),
    decode: () => asyncScope(async () => void await model.decodeTokens(indices).floats()),
    "training step": () =>
      asyncScope(async () => {
        const { logs } = await trainer.trainStep([images]);
        await logs["train/total_loss"].item();
      }),
    dispose() {
      for (const owner of [...Object.values(trainer.optimizers), images, indices, model]) owner.dispose();
    },
  };
}

/** What the jobs of a model take, whatever the machine. */
export interface Cost {
  /** The operations of each job, by the definition. */
  readonly flops: Readonly<Record<JobName, number>>;
  /** The bytes of all tensors at the peak. */
  readonly bytes: number;
}

/** Counts the work of the jobs on a device that computes nothing. */
export async function countWork(subject: Subject): Promise<Cost> {
  const backend = new CountingBackend();
  const flops = await withBackend(backend, async () => {
    const jobs = prepare(subject, null), found: [JobName, number][] = [];
    for (const name of jobNames) {
      const before = backend.totals.size === 0 ? 0 : backend.total.flops;
      await jobs[name]();
      found.push([name, backend.total.flops - before]);
    }
    jobs.dispose();
    return Object.fromEntries(found) as Record<JobName, number>;
  });
  return { flops, bytes: backend.peak };
}
