// What only the GPU backend has: no new objects after the second step, few submits, errors that name the kernel, and errors
// that name the limit. The operations themselves are tested together with those of all devices.
import { expect, test } from "bun:test";
import process from "node:process";
import { preset } from "../../../../data/formats/config.ts";
import { VQGAN } from "../../../../nn/vqgan.ts";
import type { Buffer, Slot } from "../../../../src/backends/buffer.ts";
import { NoAdapterError } from "../../../../src/backends/webgpu/device/adapter.ts";
import { WebGpuBackend } from "../../../../src/backends/webgpu/backend.ts";
import { asyncScope, currentBackend, device, Random, tensor } from "../../../../src/index.ts";
import { Trainer } from "../../../../train/trainer.ts";
import { describeDevices } from "../../../support/devices.ts";

/** SwiftShader, which Bun uses, takes ten times as long as lavapipe, which Deno uses. */
const steps = process.versions.bun ? 20 : 200;

/** The first elements of a buffer. */
const first = (buffer: Buffer, length: number): Slot => ({ buffer, offset: 0, length, itemBytes: 4 });

function smallModel(): VQGAN {
  const config = preset("faces", {
    nEmbed: 16,
    embedDim: 4,
    ddconfig: { ch: 32, chMult: [1], numResBlocks: 1, resolution: 8, zChannels: 4, attnResolutions: [] },
    lossconfig: { discStart: 0, discNdf: 4, discNumLayers: 1, perceptualWeight: 0 },
  });
  return new VQGAN(config, new Random(1), { withLoss: true });
}

describeDevices("the GPU", () => {
  const backend = () => currentBackend() as WebGpuBackend;

  test(`makes nothing anew after the second of ${steps} steps, and submits seven times a step and at pauses`, async () => {
    const model = smallModel(), trainer = new Trainer(model, { learningRate: () => 1e-4 });
    const pictures = new Random(2);
    const made = () => {
      const { buffers, pipelines, bindGroups } = backend().gpu.counts;
      return { buffers, pipelines, bindGroups, bytes: backend().memory().reservedBytes };
    };
    let after: ReturnType<typeof made> | null = null;
    for (let step = 0; step < steps; step++) {
      const { submits } = backend().gpu.counts, start = performance.now();
      await asyncScope(async () => {
        const { logs } = await trainer.trainStep([pictures.uniform([1, 8, 8, 3], -1, 1)]);
        if (step % 20 === 19) expect(Number.isFinite(await logs["train/total_loss"].item())).toBe(true);
      });
      // a step that takes long pauses every 100 ms, and each pause submits
      const pauses = Math.floor((performance.now() - start) / 100);
      expect(backend().gpu.counts.submits - submits).toBeLessThanOrEqual(7 + pauses);
      if (step === 1) after = made();
    }
    expect(made()).toEqual(after!);
    trainer.dispose();
    model.dispose();
  });

  test("a written value reaches only the calls after it", () =>
    asyncScope(async () => {
      const x = tensor([1, 2, 3]), before = x.mul(10);
      x.write(Float32Array.of(4, 5, 6));
      const after = x.mul(10);
      expect(await before.floats()).toEqual(Float32Array.of(10, 20, 30));
      expect(await after.floats()).toEqual(Float32Array.of(40, 50, 60));
    }));

  test("refuses parts of buffers if a kernel needs whole ones", () => {
    const buffer = backend().alloc(40), out = first(backend().alloc(16), 4);
    const middle = { ...first(buffer, 4), offset: 2 };
    const says = "reads buffers from their beginning, and writes whole vectors, not elements";
    expect(() => backend().run("unary", { op: "abs", p0: 0, p1: 0, x: middle, out })).toThrow(
      `webgpu: unary ${says} 2 to 6 of 10`,
    );
    expect(() => backend().run("fill", { out: first(buffer, 3), value: 1 })).toThrow(`${says} 0 to 3 of 10`);
    for (const each of [buffer, out.buffer]) backend().free(each);
  });

  test("refuses a tensor that it cannot bind, with the limit", () => {
    const limit = backend().gpu.adapter.limits.maxStorageBufferBindingSize;
    expect(() => backend().alloc(limit + 4)).toThrow(
      /MiB is too large for this GPU, which binds at most \d+ MiB/,
    );
  });

  test("throws an error of the GPU at the next read, with the kernel's name", async () => {
    const own = await WebGpuBackend.open();
    const out = own.alloc(4);
    const run = async () => {
      own.gpu.run({
        name: "broken kernel",
        operands: [first(out, 1)],
        groups: 1,
        source: () => ({
          inputs: {},
          outputs: { out: "f32" },
          threads: 1,
          body: "out[0] = nothing;",
        }),
      });
      await own.read(out, "f32", 0, 1);
    };
    const message = await run().catch((error: Error) => error.message);
    expect(message).toContain("kernel broken kernel: ");
    expect(message).toContain("nothing");
    await expect(own.pause()).rejects.toThrow("broken kernel"); // and at every later wait
  });

  test("throws when it is lost", async () => {
    const own = await WebGpuBackend.open();
    const out = own.alloc(4);
    own.run("fill", { out: first(out, 1), value: 7 });
    own.gpu.device.destroy();
    await expect(own.read(out, "f32", 0, 1)).rejects.toThrow("the GPU was lost");
  });

  test("is refused if it computes on the CPU and this was not allowed", async () => {
    if (!backend().gpu.report.isSoftware) return;
    const allowed = process.env.TESSERA_SOFTWARE_GPU;
    process.env.TESSERA_SOFTWARE_GPU = "0";
    try {
      await expect(WebGpuBackend.open()).rejects.toThrow(NoAdapterError);
      await expect(WebGpuBackend.open()).rejects.toThrow("allow it with TESSERA_SOFTWARE_GPU=1");
      expect((await device("auto")).name).toBe("cpu");
    } finally {
      process.env.TESSERA_SOFTWARE_GPU = allowed;
      await device("webgpu");
    }
  });
}, ["webgpu"]);
