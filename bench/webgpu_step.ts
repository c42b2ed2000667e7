// What one training step asks of a GPU, whichever it is: kernel calls, submits and bytes, kind by kind. The counts are those
// of f16-16384 with LPIPS; on a software GPU small pictures keep the wait bearable (calls hardly depend on the size).
//   TESSERA_SOFTWARE_GPU=1 deno run -A bench/webgpu_step.ts [side]
import { parseArgs } from "node:util";
import { preset } from "../nn/config.ts";
import { VQGAN } from "../nn/vqgan.ts";
import { WebGpuBackend } from "../src/backends/webgpu/backend.ts";
import { asyncScope, currentBackend, device, Random } from "../src/index.ts";
import { Trainer } from "../train/trainer.ts";

const { positionals: [side = "64"] } = parseArgs({ allowPositionals: true });
const size = Number(side);
await device("webgpu");
const backend = currentBackend() as WebGpuBackend;
console.log(`f16-16384, one picture of ${size}x${size}, on ${backend.description}`);

const config = preset("f16-16384", { lossconfig: { discStart: 0 } });
const model = new VQGAN(config, new Random(1), { withLoss: true });
model.loss!.perceptual_loss!.ready = true; // random weights do to count
const trainer = new Trainer(model, { learningRate: () => 1e-6 });
const random = new Random(2);

const kinds = new Map<string, { calls: number; bytes: number }>();
const step = () =>
  asyncScope(async () => {
    const { logs } = await trainer.trainStep([random.uniform([1, size, size, 3], -1, 1)]);
    return await logs["train/total_loss"].item();
  });
const start = performance.now();
console.log(`loss ${(await step()).toPrecision(5)} after the first step, ${seconds(start)} with compiling`);
backend.gpu.trace = (name, bytes) => {
  const [kind] = name.split(" ", 1);
  const sum = kinds.get(kind) ?? { calls: 0, bytes: 0 };
  kinds.set(kind, { calls: sum.calls + 1, bytes: sum.bytes + bytes });
};
const before = backend.gpu.counts, second = performance.now();
console.log(`loss ${(await step()).toPrecision(5)} after the second, ${seconds(second)}`);
const after = backend.gpu.counts;

console.log("\n| kernels | calls | MB bound |\n|---|---|---|");
const sorted = [...kinds].sort(([, a], [, b]) => b.bytes - a.bytes);
for (const [kind, { calls, bytes }] of sorted) {
  console.log(`| ${kind} | ${calls} | ${(bytes / 1e6).toFixed(1)} |`);
}
const total = sorted.reduce((sum, [, { bytes }]) => sum + bytes, 0);
console.log(`| all | ${after.calls - before.calls} | ${(total / 1e6).toFixed(1)} |`);
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
