// What one training step asks of a GPU, whichever it is: kernel calls, submits, bytes and flops, kind by kind, beside the
// least possible; from bandwidth and rate of a GPU, how long it would take there, and by the GPU's own clock, how long it
// does take. The counts are those of f16-16384 with LPIPS; on a software GPU small pictures keep the wait bearable (calls
// hardly depend on the size).
//   TESSERA_SOFTWARE_GPU=1 deno run -A bench/webgpu_step.ts [side] [--batch 4] [--precision f16] [--gbps 1008 --tflops 40]
//   --steps 10: that many more, for their median; --calls 30: the dearest calls too
import process from "node:process";
import { parseArgs } from "node:util";
import { preset } from "../data/formats/config.ts";
import { VQGAN } from "../nn/vqgan.ts";
import { WebGpuBackend } from "../src/backends/webgpu/backend.ts";
import { Stopwatch } from "../src/backends/webgpu/stopwatch.ts";
import { asyncScope, currentBackend, device, Random } from "../src/index.ts";
import { estimateStep } from "../train/estimate.ts";
import { Trainer } from "../train/trainer.ts";
import { median } from "./children.ts";

const { positionals: [side = "64"], values: flags } = parseArgs({
  allowPositionals: true,
  options: {
    precision: { type: "string", default: "f32" },
    batch: { type: "string", default: "1" },
    steps: { type: "string", default: "0" },
    calls: { type: "string", default: "0" },
    /** Of the GPU to predict for: GB/s of its memory, and TFLOP/s that it reaches in products. */
    gbps: { type: "string", default: "1000" },
    tflops: { type: "string", default: "20" },
  },
});
const size = Number(side), precision = flags.precision === "f16" ? "f16" : "f32", batch = Number(flags.batch);
await device("webgpu", { exact: Boolean(Number(process.env.TESSERA_EXACT ?? 1)) }); // as on a real GPU
const backend = currentBackend() as WebGpuBackend, { gpu } = backend;
console.log(
  `f16-16384, ${batch} of ${size}x${size} pixels in ${precision}, on ${backend.description}` +
    (gpu.matrix ? ", with matrices" : ""),
);

const config = preset("f16-16384", { lossconfig: { discStart: 0 } });
const model = new VQGAN(config, new Random(1), { withLoss: true });
model.loss!.perceptual_loss!.ready = true; // random weights do to count
const trainer = new Trainer(model, { learningRate: () => 1e-6, precision });
const pictures = new Random(2).uniform([batch, size, size, 3], -1, 1);

const step = () =>
  asyncScope(async () => {
    const { logs } = await trainer.trainStep([pictures]);
    return await logs["train/total_loss"].item();
  });
const start = performance.now();
console.log(`loss ${(await step()).toPrecision(5)} after the first step, ${seconds(start)} with compiling`);

interface Kind {
  calls: number;
  bytes: number;
  flops: number;
  /** By the GPU's clock. */
  ms: number;
}
const kinds = new Map<string, Kind>(), single = new Map<string, Kind>();
const add = (to: Map<string, Kind>, name: string, what: Partial<Kind>) => {
  const sum = to.get(name) ?? { calls: 0, bytes: 0, flops: 0, ms: 0 };
  for (const key of ["calls", "bytes", "flops", "ms"] as const) sum[key] += what[key] ?? 0;
  to.set(name, sum);
};
const kindOf = (name: string) => name.split(" ", 1)[0];
const calls: { name: string; bytes: number; flops: number }[] = [];
gpu.trace = (name, bytes, flops) => {
  calls.push({ name, bytes, flops });
  add(kinds, kindOf(name), { calls: 1, bytes, flops });
};
const before = gpu.counts, second = performance.now();
console.log(`loss ${(await step()).toPrecision(5)} after the second, ${seconds(second)}`);
const after = gpu.counts;
gpu.trace = null;

const times: number[] = [];
for (let i = 0; i < Number(flags.steps); i++) {
  const start = performance.now();
  await step();
  times.push(performance.now() - start);
}
if (times.length > 0) {
  const [least, middle] = [Math.min(...times), median(times)].map((ms) => ms.toFixed(1));
  console.log(`${times.length} more: median ${middle} ms, least ${least} ms`);
}
const hasClock = gpu.device.features.has("timestamp-query");
if (hasClock) {
  const sumOf = (timed: readonly { ms: number }[]) => timed.reduce((sum, { ms }) => sum + ms, 0);
  let timed: { name: string; ms: number }[] = [];
  for (let i = 0; i < 3; i++) { // the best of three: a GPU that has waited is slow at first
    gpu.stopwatch = new Stopwatch(gpu.device);
    await step();
    const again = await gpu.stopwatch.read();
    if (i === 0 || sumOf(again) < sumOf(timed)) timed = again;
  }
  gpu.stopwatch = null;
  timed.forEach(({ name, ms }, i) => {
    add(kinds, kindOf(name), { ms });
    const call = calls[i];
    const rate = call.flops > 0 ? ` of ${(call.flops / 1e9).toFixed(1)} GFLOP` : "";
    add(single, `${name}${rate}, ${(call.bytes / 1e6).toFixed(1)} MB`, { calls: 1, ms, ...call });
  });
}

/** Whichever takes longer: moving the bytes or doing the flops. */
const milliseconds = (bytes: number, flops: number) =>
  1e3 * Math.max(bytes / (Number(flags.gbps) * 1e9), flops / (Number(flags.tflops) * 1e12));
const row = (
  kind: string,
  calls: number | string,
  bytes: number,
  flops: number,
  least: number,
  ms?: number,
) => {
  const cells = [kind, calls, (bytes / 1e6).toFixed(1), (flops / 1e9).toFixed(1), least.toFixed(1)];
  console.log(`| ${[...cells, ms === undefined ? "" : ms.toFixed(1)].join(" | ")} |`);
};
console.log(
  `\n| kernels | calls | MB bound | GFLOP | ms at ${flags.gbps} GB/s and ${flags.tflops} TFLOP/s | ms measured |`,
);
console.log("|---|---:|---:|---:|---:|---:|");
const total = { bytes: 0, flops: 0, least: 0, ms: 0 };
for (
  const [kind, { calls, bytes, flops, ms }] of [...kinds].sort(([, a], [, b]) =>
    b.ms - a.ms || b.bytes - a.bytes
  )
) {
  const least = milliseconds(bytes, flops);
  row(kind, calls, bytes, flops, least, hasClock ? ms : undefined);
  total.bytes += bytes;
  total.flops += flops;
  total.least += least;
  total.ms += ms;
}
row(
  "all",
  after.calls - before.calls,
  total.bytes,
  total.flops,
  total.least,
  hasClock ? total.ms : undefined,
);
// forward and both gradients of encoder and decoder; VGG on two pictures and back to one; the discriminator on one, back
// to it, on two and both gradients (reference, multiplications at 256x256)
const area = batch * (size / 256) ** 2, flops = 2e9 * area * (3 * (69.2 + 126.4) + 3 * 20 + 8 * 2.7);
// what must be kept for the way back, written and read once; weights twice, gradients, Adam's moments
const { peak } = await estimateStep(config, { batch, height: size, width: size, precision });
const learnt = [...model.generatorParameters().values(), ...model.discriminatorParameters().values()]
  .reduce((sum, { size }) => sum + size * 4, 0);
const frozen = [...model.namedParameters().values()].reduce((sum, { size }) => sum + size * 4, 0) - learnt;
const bytes = 2 * (peak - 4 * learnt - frozen) + (2 + 2 + 6) * learnt + 3 * frozen;
row("the least, by definition", "", bytes, flops, milliseconds(bytes, 0) + milliseconds(0, flops));
for (
  const [name, { calls, ms, flops, bytes }] of [...single].sort(([, a], [, b]) => b.ms - a.ms).slice(
    0,
    Number(flags.calls),
  )
) {
  const rates = `${(flops / ms / 1e9).toFixed(1)} TFLOP/s, ${(bytes / ms / 1e6).toFixed(0)} GB/s`;
  console.log(`${ms.toFixed(2).padStart(8)} ms in ${calls} calls of ${name}: ${rates}`);
}
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
