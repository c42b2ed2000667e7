// The memory of a step: the count without computing compared with what a step really holds, and the advice if memory
// runs out.
import { expect, test } from "bun:test";
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
  zeros,
} from "../../src/index.ts";
import { WebGpuBackend } from "../../src/backends/webgpu/backend.ts";
import { BatchTooLargeError, estimateStep, withAdvice } from "../../train/estimate.ts";
import { Trainer } from "../../train/trainer.ts";
import { describeDevices } from "../support/devices.ts";
import { expectNoLeak } from "../support/expectations.ts";

const config = preset("faces", { lossconfig: { discStart: 0, perceptualWeight: 0 } });
const shape = { batch: 2, height: 32, width: 32, precision: "f32" } as const;

test("counts the memory that a step really holds", async () => {
  await device("cpu");
  resetPeakBytes();
  const before = memory().liveBytes;
  await expectNoLeak(async () => {
    const model = new VQGAN(config, null, { withLoss: true }),
      trainer = new Trainer(model, { learningRate: () => 1 });
    const images = new Random(1).uniform([2, 32, 32, 3], -1, 1);
    for (let step = 0; step < 2; step++) await asyncScope(async () => void await trainer.trainStep([images]));
    images.dispose();
    trainer.dispose();
    model.dispose();
  });
  const { peak } = await estimateStep(config, shape);
  const real = memory().peakBytes - before;
  expect(Math.abs(peak / real - 1)).toBeLessThan(0.01);
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
      config,
      { ...shape, batch },
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
  expect(await withAdvice(other, config, shape)).toBe(other);
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
