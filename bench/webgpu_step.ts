// What one training step asks of a GPU, whichever it is: kernel calls, submits, bytes and flops, kind by kind, beside the
// least possible; from bandwidth and rate of a GPU, how long it would take there. The counts are those of f16-16384 with
// LPIPS; on a software GPU small pictures keep the wait bearable (calls hardly depend on the size).
//   TESSERA_SOFTWARE_GPU=1 deno run -A bench/webgpu_step.ts [side] [--precision f16] [--gbps 1008 --tflops 40]
import { parseArgs } from "node:util";
import { preset } from "../nn/config.ts";
import { VQGAN } from "../nn/vqgan.ts";
import { WebGpuBackend } from "../src/backends/webgpu/backend.ts";
import { asyncScope, currentBackend, device, Random } from "../src/index.ts";
import { estimateStep } from "../train/estimate.ts";
import { Trainer } from "../train/trainer.ts";

const { positionals: [side = "64"], values: flags } = parseArgs({
  allowPositionals: true,
  options: {
    precision: { type: "string", default: "f32" },
    /** Of the GPU to predict for: GB/s of its memory, and TFLOP/s that it reaches in products. */
    gbps: { type: "string", default: "1000" },
    tflops: { type: "string", default: "20" },
  },
});
const size = Number(side), precision = flags.precision === "f16" ? "f16" : "f32";
await device("webgpu", { exact: true }); // as on a real GPU
const backend = currentBackend() as WebGpuBackend;
console.log(`f16-16384, one picture of ${size}x${size} in ${precision}, on ${backend.description}`);

const config = preset("f16-16384", { lossconfig: { discStart: 0 } });
const model = new VQGAN(config, new Random(1), { withLoss: true });
model.loss!.perceptual_loss!.ready = true; // random weights do to count
const trainer = new Trainer(model, { learningRate: () => 1e-6, precision });
const random = new Random(2);

const kinds = new Map<string, { calls: number; bytes: number; flops: number }>();
const step = () =>
  asyncScope(async () => {
    const { logs } = await trainer.trainStep([random.uniform([1, size, size, 3], -1, 1)]);
    return await logs["train/total_loss"].item();
  });
const start = performance.now();
console.log(`loss ${(await step()).toPrecision(5)} after the first step, ${seconds(start)} with compiling`);
backend.gpu.trace = (name, bytes, flops) => {
  const [kind] = name.split(" ", 1);
  const sum = kinds.get(kind) ?? { calls: 0, bytes: 0, flops: 0 };
  kinds.set(kind, { calls: sum.calls + 1, bytes: sum.bytes + bytes, flops: sum.flops + flops });
};
const before = backend.gpu.counts, second = performance.now();
console.log(`loss ${(await step()).toPrecision(5)} after the second, ${seconds(second)}`);
const after = backend.gpu.counts;

/** Whichever takes longer: moving the bytes or doing the flops. */
const milliseconds = (bytes: number, flops: number) =>
  1e3 * Math.max(bytes / (Number(flags.gbps) * 1e9), flops / (Number(flags.tflops) * 1e12));
const row = (kind: string, calls: number | string, bytes: number, flops: number, ms: number) =>
  console.log(
    `| ${kind} | ${calls} | ${(bytes / 1e6).toFixed(1)} | ${(flops / 1e9).toFixed(1)} | ${ms.toFixed(1)} |`,
  );
console.log(
  `\n| kernels | calls | MB bound | GFLOP | ms at ${flags.gbps} GB/s and ${flags.tflops} TFLOP/s |`,
);
console.log("|---|---:|---:|---:|---:|");
const total = { bytes: 0, flops: 0, ms: 0 };
for (const [kind, { calls, bytes, flops }] of [...kinds].sort(([, a], [, b]) => b.bytes - a.bytes)) {
  const ms = milliseconds(bytes, flops);
  row(kind, calls, bytes, flops, ms);
  total.bytes += bytes;
  total.flops += flops;
  total.ms += ms;
}
row("all", after.calls - before.calls, total.bytes, total.flops, total.ms);
// forward and both gradients of encoder and decoder; VGG on two pictures and back to one; the discriminator on one, back
// to it, on two and both gradients (reference, multiplications at 256x256)
const area = (size / 256) ** 2, flops = 2e9 * area * (3 * (69.2 + 126.4) + 3 * 20 + 8 * 2.7);
// what must be kept for the way back, written and read once; weights twice, gradients, Adam's moments
const { peak } = estimateStep(config, { batch: 1, height: size, width: size, precision });
const learnt = [...model.generatorParameters().values(), ...model.discriminatorParameters().values()]
  .reduce((sum, { size }) => sum + size * 4, 0);
const frozen = [...model.namedParameters().values()].reduce((sum, { size }) => sum + size * 4, 0) - learnt;
const bytes = 2 * (peak - 4 * learnt - frozen) + (2 + 2 + 6) * learnt + 3 * frozen;
row("the least, by definition", "", bytes, flops, milliseconds(bytes, 0) + milliseconds(0, flops));
console.log(
  `\n${after.submits - before.submits} submits with that of reading; made anew: ` +
    `${after.buffers - before.buffers} buffers, ${after.pipelines - before.pipelines} pipelines, ` +
    `${after.bindGroups - before.bindGroups} bind groups; ${
      (backend.memory().reservedBytes / 1e6).toFixed(0)
    } MB reserved`,
);

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
