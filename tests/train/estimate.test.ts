// The memory of a step: the count without computing compared with what a step really holds, and the advice if memory
// runs out.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { preset } from "../../data/formats/config.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import {
  asyncScope,
  currentBackend,
  device,
  memory,
  OutOfMemoryError,
  Random,
  resetPeakBytes,
  type Tensor,
  zeros,
} from "../../src/index.ts";
import { WebGpuBackend } from "../../src/backends/webgpu/backend.ts";
import { BatchTooLargeError, withAdvice } from "../../train/advice.ts";
import { estimateStep } from "../../train/estimate.ts";
import { Trainer, type TrainerOptions } from "../../train/trainer.ts";
import { describeDevices } from "../support/devices.ts";
import { expectNoLeak } from "../support/expectations.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const config = preset("faces", { lossconfig: { discStart: 0, perceptualWeight: 0 } });
const shape = { batch: 2, height: 32, width: 32, precision: "f32" } as const;

describe("the memory that a step really holds is counted", () => {
  const plain: Omit<TrainerOptions, "learningRate"> = {};
  const cases: Record<string, typeof plain> = {
    "alone": plain,
    "with codes that are averages": { codebook: { learning: "ema" } },
    "with codes that one map moves": { codebook: { learning: "simvq" } },
    "with averages of the weights, LeCam and clipping": {
      gan: { lecam: 0.1 },
      update: { clip: 1, ema: 0.9 },
    },
  };
  const counted = async (options: typeof plain, images: Tensor) => {
    const [batch, height, width] = images.shape;
    const { peak } = await estimateStep(config, { batch, height, width, precision: "f32" }, options);
    resetPeakBytes();
    const before = memory().liveBytes;
    const model = new VQGAN(config, new Random(1), { withLoss: true });
    const trainer = new Trainer(model, { ...options, learningRate: () => 1e-5 });
    for (let step = 0; step < 2; step++) await asyncScope(async () => void await trainer.trainStep([images]));
    trainer.dispose();
    model.dispose();
    return { peak, real: memory().peakBytes - before + images.size * 4 };
  };

  for (const [name, options] of Object.entries(cases)) {
    test(name, () =>
      expectNoLeak(async () => {
        await device("cpu");
        const images = new Random(1).uniform([2, 32, 32, 3], -1, 1);
        const { peak, real } = await counted(options, images), alone = await estimateStep(config, shape);
        images.dispose();
        expect(Math.abs(peak / real - 1)).toBeLessThan(0.01);
        expect(peak === alone.peak).toBe(name === "alone");
      }));
  }
});

test("f16 and small pictures take less memory, and nothing leaks", () =>
  expectNoLeak(async () => {
    const { peak, largest } = await estimateStep(config, { ...shape, height: 128, width: 128 });
    expect(largest).toBe(2 * 128 * 128 * 64 * 4); // one activation of the first level
    const half = await estimateStep(config, { ...shape, height: 128, width: 128, precision: "f16" });
    expect(half.peak).toBeLessThan(peak);
    expect((await estimateStep(config, shape)).peak).toBeLessThan(peak);
  }));

test("names the batch size that fits", async () => {
  type Limits = ConstructorParameters<typeof OutOfMemoryError>[1];
  const advice = async (batch: number, limits: Limits, accumulate?: number) =>
    await withAdvice(
      new OutOfMemoryError("no memory", limits),
      { ...shape, batch },
      (other) => estimateStep(config, other),
      accumulate,
    ) as BatchTooLargeError;
  const one = await estimateStep(config, { ...shape, batch: 1 }),
    three = await estimateStep(config, { ...shape, batch: 3 });
  const total = Math.ceil(three.peak * 1.15);
  const error = await advice(8, { total });
  expect(error).toBeInstanceOf(BatchTooLargeError);
  expect(error.message).toMatch(
    /^no memory; a step on 8 of 32x32 takes about \d+ MB, a batch of 3 fits \(batch: 3, with accumulate: 3 /,
  );
  expect([error.shape, error.fits, error.accumulate]).toEqual([{ ...shape, batch: 8 }, 3, 3]);
  expect((await advice(8, { total }, 2)).accumulate).toBe(6); // 16 pictures in the step
  expect((await advice(8, { largest: 128 * 9 * 128 * 4 })).message).toContain(
    "a batch of 2 fits (batch: 2, with accumulate: 4",
  );
  const nothing = await advice(2, { total: one.peak / 2 });
  expect(nothing.message).toContain('not even one picture fits: use a smaller size, or precision: "f16"');
  expect([nothing.fits, nothing.accumulate]).toEqual([0, 0]);
  const other = new Error("else");
  expect(await withAdvice(other, shape, () => estimateStep(config, shape))).toBe(other);
});

describeDevices("a batch that the GPU cannot bind", () => {
  test("is refused with the batch size that it can bind", async () => {
    const { gpu } = currentBackend() as WebGpuBackend;
    const limit = Math.min(gpu.device.limits.maxStorageBufferBindingSize, gpu.device.limits.maxBufferSize);
    const model = new VQGAN(config, null, { withLoss: true });
    const trainer = new Trainer(model, { learningRate: () => 1 });
    const most = Math.floor(limit / (64 * 64 * 64 * 4)), images = zeros([most + 1, 64, 64, 3]);
    await expect(trainer.trainStep([images])).rejects.toThrow(
      new RegExp(`binds at most .* a batch of ${most} fits \\(batch: ${most}, with accumulate: 2`),
    );
    images.dispose();
    trainer.dispose();
    model.dispose();
  });
}, ["webgpu"]);
