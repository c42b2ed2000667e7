// The tiles with which a GPU computes: all of them give the same results, and the fastest is measured once and remembered.
import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Backend } from "../../../../../src/backends/backend.ts";
import { WebGpuBackend } from "../../../../../src/backends/webgpu/backend.ts";
import { type Choice, Tuner } from "../../../../../src/backends/webgpu/device/tuner.ts";
import { withBackend } from "../../../../../src/device.ts";
import {
  asyncScope,
  conv2d,
  currentBackend,
  device,
  grad,
  matmul,
  nearestCode,
  type Shape,
  tensor,
} from "../../../../../src/index.ts";
import { describeDevices } from "../../../../support/devices.ts";
import { drawn, draws, relativeError } from "../../../../support/numbers.ts";

/** Chooses tiles of one kind if they are among the choices. */
class OneKind extends Tuner {
  readonly kind: string;

  found = 0;

  /** @param kind the end of their names */
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

describeDevices("tiles of the GPU", () => {
  const backend = () => currentBackend() as WebGpuBackend;

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
        const convolved = outs.slice(0, 2);
        const gradOutputs = convolved.map(({ shape }, i) => drawn(`g${i}`, shape));
        const gradients = grad(convolved, [...images, ...filters], { gradOutputs });
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

  test("finds codes with the tiles of real GPUs, within their workgroup memory", async () => {
    const cpu = await device("cpu");
    await device("webgpu");
    const own = await WebGpuBackend.open();
    Object.assign(own.gpu, { report: { ...own.gpu.report, isSoftware: false } });
    const find = (on: Backend) =>
      asyncScope(() =>
        withBackend(on, () => nearestCode(drawn("z", [1024, 16]), drawn("codes", [4096, 16])).ints())
      );
    expect(await find(own)).toEqual(await find(cpu)); // with so many codes the largest tiles would be the first choice
  });

  test("splits deep products as on real GPUs: results like the CPU's, and the same bits with every tile", async () => {
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
    // the second of these consists of four phases
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
    // strips of a large picture must have the same bits as the whole picture
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
}, ["webgpu"]);
