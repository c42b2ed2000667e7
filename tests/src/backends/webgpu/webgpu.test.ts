// What is the GPU's own: nothing is made anew after the second step, few submits, faults that name the kernel, refusals
// that name the limit. The operations themselves are tested where all devices are.
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { preset } from "../../../../data/formats/config.ts";
import { VQGAN } from "../../../../nn/vqgan.ts";
import type { Backend } from "../../../../src/backends/backend.ts";
import type { Buffer, Slot } from "../../../../src/backends/buffer.ts";
import { NoAdapterError } from "../../../../src/backends/webgpu/device/adapter.ts";
import { WebGpuBackend } from "../../../../src/backends/webgpu/backend.ts";
import { type Choice, Tuner } from "../../../../src/backends/webgpu/device/tuner.ts";
import { withBackend } from "../../../../src/device.ts";
import {
  asyncScope,
  conv2d,
  currentBackend,
  device,
  grad,
  matmul,
  nearestCode,
  Random,
  type Shape,
  tensor,
} from "../../../../src/index.ts";
import { Trainer } from "../../../../train/trainer.ts";
import { describeDevices } from "../../../support/devices.ts";
import { drawn, draws, relativeError } from "../../../support/numbers.ts";

/** SwiftShader, which Bun finds, takes ten times as long as lavapipe, which Deno finds. */
const steps = process.versions.bun ? 20 : 200;

/** Takes tiles of one kind wherever they are among the choices. */
class OneKind extends Tuner {
  readonly kind: string;

  found = 0;

  /** @param kind how their names end */
  constructor(kind: string) {
    super("", null, false);
    this.kind = kind;
  }

  override choose(_name: string, _work: number, choices: readonly Choice[]): number {
    const at = choices.findIndex(({ name }) => name.endsWith(this.kind));
    if (at >= 0) this.found++;
    return Math.max(0, at);
  }
}

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

  test(`makes nothing anew after the second of ${steps} steps, and submits at most seven times a step`, async () => {
    const model = smallModel(), trainer = new Trainer(model, { learningRate: () => 1e-4 });
    const pictures = new Random(2);
    const made = () => {
      const { buffers, pipelines, bindGroups } = backend().gpu.counts;
      return { buffers, pipelines, bindGroups, bytes: backend().memory().reservedBytes };
    };
    let after: ReturnType<typeof made> | null = null;
    for (let step = 0; step < steps; step++) {
      const { submits } = backend().gpu.counts;
      await asyncScope(async () => {
        const { logs } = await trainer.trainStep([pictures.uniform([1, 8, 8, 3], -1, 1)]);
        if (step % 20 === 19) expect(Number.isFinite(await logs["train/total_loss"].item())).toBe(true);
      });
      expect(backend().gpu.counts.submits - submits).toBeLessThanOrEqual(7);
      if (step === 1) after = made();
    }
    expect(made()).toEqual(after!);
    trainer.dispose();
    model.dispose();
  });

  test("computes the same with tiles of every kind", () =>
    asyncScope(async () => {
      const { gpu } = backend(), before = gpu.tuner;
      const images = [drawn("x", [1, 12, 12, 16]), drawn("y", [2, 6, 7, 32])];
      const filters = [drawn("v", [64, 16, 3, 3]), drawn("w", [3, 32, 3, 3])];
      for (const t of [...images, ...filters]) t.requiresGrad = true;
      const compute = async () => {
        const outs = [
          conv2d(images[0], filters[0], null, { stride: 2, padding: 1 }),
          conv2d(images[1], filters[1], null, { padding: 1, upsample: 2 }),
          matmul(images[1].reshape(-1, 32), filters[0].reshape(-1, 32), { transposeB: true }),
        ];
        const gradOutputs = outs.map(({ shape }, i) => drawn(`g${i}`, shape));
        const gradients = grad(outs.slice(0, 2), [...images, ...filters], { gradOutputs });
        return await Promise.all([...outs, ...gradients].map((t) => t.floats()));
      };
      const untuned = await compute();
      try {
        for (
          const kind of [
            "128x128/8x8 shared",
            "64x64/8x8 shared",
            "64x64/4x4 shared",
            "32x32/4x4 shared",
            ...gpu.report.isSoftware ? [gpu.hasQuads ? "quad" : "direct"] : [],
          ]
        ) {
          const wanted = gpu.tuner = new OneKind(kind);
          const tuned = await compute();
          expect(wanted.found).toBeGreaterThan(0);
          tuned.forEach((values, i) => expect(relativeError(values, untuned[i])).toBeLessThan(2e-6));
        }
      } finally {
        gpu.tuner = before;
      }
    }));

  test("measures tiles once, and remembers", () =>
    asyncScope(async () => {
      const { gpu } = backend(), before = gpu.tuner;
      const folder = mkdtempSync(join(tmpdir(), "tessera-tiles-"));
      const file = join(folder, "tessera", "tiles.json");
      const compute = () => matmul(drawn("a", [9, 16]), drawn("b", [16, 64])).floats();
      try {
        gpu.tuner = new Tuner("test", file, true, Infinity);
        const first = await compute();
        await backend().pause();
        const answers = JSON.parse(readFileSync(file, "utf8"));
        expect(Object.keys(answers.test).length).toBe(1);
        const [tile] = Object.values(answers.test);
        expect(tile).toMatch(/^\d+x\d+\/\d+x\d+ (shared|direct|quad)$/);
        gpu.tuner = await Tuner.open("test", file, true);
        expect(gpu.tuner.size).toBe(1);
        expect(await compute()).toEqual(first);
        await backend().pause();
        expect(JSON.parse(readFileSync(file, "utf8"))).toEqual(answers);
        for (const damaged of ["damaged", "null", '{"test":null}', '{"test":{"conv":1,"matmul":null}}']) {
          writeFileSync(file, damaged);
          expect((await Tuner.open("test", file, true)).size).toBe(0);
        }
      } finally {
        gpu.tuner = before;
        rmSync(folder, { recursive: true });
      }
    }));

  test("finds codes by the tiles of real GPUs, whose memory suffices", async () => {
    const cpu = await device("cpu");
    await device("webgpu");
    const own = await WebGpuBackend.open();
    Object.assign(own.gpu, { report: { ...own.gpu.report, isSoftware: false } });
    const find = (on: Backend) =>
      asyncScope(() =>
        withBackend(on, () => nearestCode(drawn("z", [1024, 16]), drawn("codes", [4096, 16])).ints())
      );
    expect(await find(own)).toEqual(await find(cpu)); // so many that the largest tiles would come first
  });

  test("splits deep products as on real GPUs: beside the CPU, and the same bits by every tile", async () => {
    const cpu = await device("cpu");
    await device("webgpu");
    const own = await WebGpuBackend.open(), { gpu } = own;
    Object.assign(gpu, { report: { ...gpu.report, isSoftware: false } });
    own.exact = true;
    const called: string[] = [];
    gpu.trace = (name) => void called.push(name);
    const compute = (on: Backend, dtype: "f32" | "f16" = "f32") =>
      asyncScope(() =>
        withBackend(on, async () => {
          // numbers that f16 can hold
          const image = (name: string, shape: Shape) => {
            const x = tensor(
              draws(name, shape.reduce((a, b) => a * b)).map((v) => Math.round(v * 512) / 512),
              shape,
            );
            const cast = dtype === "f16" ? x.cast("f16") : x;
            cast.requiresGrad = true;
            return cast;
          };
          const [x, y, z] = [
            image("x", [2, 6, 5, 144]),
            image("y", [1, 4, 6, 256]),
            image("z", [1, 9, 9, 1024]),
          ];
          const v = image("v", [144, 144, 3, 3]).cast("f32"), options = { padding: 1 };
          const outs = [
            conv2d(x, v, drawn("a", [144]), { padding: 1, residual: image("r", x.shape) }),
            conv2d(y, image("w", [257, 256, 3, 3]).cast("f32"), drawn("b", [257]), {
              padding: 1,
              upsample: 2,
            }),
            conv2d(y, image("one", [1, 256, 4, 4]).cast("f32"), null, options),
            conv2d(y, image("few", [30, 256, 3, 3]).cast("f32"), null, { padding: 1, stride: 2 }),
            conv2d(z, image("to", [64, 1024, 1, 1]).cast("f32"), null),
          ];
          const [gradient] = grad([outs[0]], [x], { gradOutputs: [image("g", x.shape)] });
          return await Promise.all([...outs, gradient].map((t) => t.cast("f32").floats()));
        })
      );
    const close = (values: readonly Float32Array[], wanted: readonly Float32Array[], tolerance: number) =>
      values.forEach((each, i) => expect(relativeError(each, wanted[i])).toBeLessThan(tolerance));
    const wanted = await compute(cpu), found = await compute(own);
    close(found, wanted, 1e-5);
    // the second of these goes to four places of each pixel
    expect(called.filter((name) => name.endsWith("from parts")).length).toBe(1 + 4 + 1 + 1 + 1 + 1);
    for (const kind of ["128x128/8x8 shared", "64x64/8x8 shared", "64x64/4x4 shared", "32x32/4x4 shared"]) {
      gpu.tuner = new OneKind(kind);
      expect(await compute(own)).toEqual(found);
    }
    if (gpu.device.features.has("timestamp-query")) {
      gpu.tuner = new Tuner("test", null, true, Infinity);
      await compute(own);
      await own.pause();
      expect(gpu.tuner.size).toBeGreaterThan(0);
      expect(await compute(own)).toEqual(found);
    }
    if (own.hasF16) close(await compute(own, "f16"), wanted, 2e-3);
    // strips of a large picture are to have the bits of the whole
    called.length = 0;
    await asyncScope(() =>
      withBackend(
        own,
        () =>
          conv2d(drawn("x", [1, 6, 5, 144]), drawn("v", [144, 144, 3, 3]), null, { padding: [0, 1, 1, 1] })
            .floats(),
      )
    );
    expect(called.some((name) => name.includes("parts"))).toBe(false);
  });

  test("gives a written value to what comes after it alone", () =>
    asyncScope(async () => {
      const x = tensor([1, 2, 3]), before = x.mul(10);
      x.write(Float32Array.of(4, 5, 6));
      const after = x.mul(10);
      expect(await before.floats()).toEqual(Float32Array.of(10, 20, 30));
      expect(await after.floats()).toEqual(Float32Array.of(40, 50, 60));
    }));

  test("keeps the blocks of a step through its stretches that need few", async () => {
    const own = await WebGpuBackend.open(), megabyte = 2 ** 20;
    const step = () => {
      const large = Array.from({ length: 10 }, () => own.alloc(50 * megabyte));
      for (const buffer of large) own.free(buffer);
      for (let size = 5; size < 20; size++) own.free(own.alloc(size * megabyte));
    };
    step();
    const { buffers } = own.gpu.counts, { reservedBytes } = own.memory();
    step();
    expect(own.gpu.counts.buffers).toBe(buffers);
    expect(own.memory().reservedBytes).toBe(reservedBytes);
  });

  test("gives back the memory of shapes that come no more", async () => {
    const own = await WebGpuBackend.open(), megabyte = 2 ** 20;
    let most = 0;
    for (let size = 16; size < 120; size++) {
      const buffers = [size, size].map((size) => own.alloc(size * megabyte));
      for (const buffer of buffers) own.run("fill", { out: first(buffer, 4), value: size });
      most = Math.max(most, own.memory().reservedBytes);
      expect(await own.read(buffers[1], "f32", 0, 1)).toEqual(Float32Array.of(size));
      for (const buffer of buffers) own.free(buffer);
    }
    expect(most).toBeLessThan(800 * megabyte);
  });

  test("refuses parts of buffers where a kernel takes whole ones", () => {
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

  test("tells of a fault at the next read, with the kernel's name", async () => {
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
    await expect(own.pause()).rejects.toThrow("broken kernel"); // and at every wait from now on
  });

  test("says so when it is lost", async () => {
    const own = await WebGpuBackend.open();
    const out = own.alloc(4);
    own.run("fill", { out: first(out, 1), value: 7 });
    own.gpu.device.destroy();
    await expect(own.read(out, "f32", 0, 1)).rejects.toThrow("the GPU was lost");
  });

  test("is not taken silently if it computes on the CPU", async () => {
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
