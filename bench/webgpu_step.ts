// Shows what one training step costs on a GPU: the calls, submits, bytes and flops of each kernel, and the least possible. It
// also prints the time that a GPU with a given bandwidth and rate would need, and the time by this GPU's own clock. The model
// is f16-16384 with LPIPS. On a software GPU use small pictures; the number of calls hardly depends on the size.
//   TESSERA_SOFTWARE_GPU=1 deno run -A bench/webgpu_step.ts [side] [--batch 4] [--precision f16] [--gbps 1008 --tflops 40]
//   --steps 10 runs ten more steps and prints their median; --calls 30 also prints the 30 most expensive calls
import process from "node:process";
import { parseArgs } from "node:util";
import { preset } from "../data/formats/config.ts";
import { VQGAN } from "../nn/vqgan.ts";
import { kernels } from "../src/backends/facts.ts";
import type { Calls, KernelName } from "../src/backends/kernels.ts";
import { WebGpuBackend } from "../src/backends/webgpu/backend.ts";
import { Stopwatch } from "../src/backends/webgpu/device/stopwatch.ts";
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
    /** The GPU to predict for: GB/s of its memory, and the TFLOP/s that it reaches in matrix products. */
    gbps: { type: "string", default: "1000" },
    tflops: { type: "string", default: "20" },
  },
});
const size = Number(side), precision = flags.precision === "f16" ? "f16" : "f32", batch = Number(flags.batch);
await device("webgpu", { exact: Boolean(Number(process.env.TESSERA_EXACT ?? 1)) }); // the default of a real GPU
const backend = currentBackend() as WebGpuBackend, { gpu } = backend;
console.log(
  `f16-16384, ${batch} of ${size}x${size} pixels in ${precision}, on ${backend.description}` +
    (gpu.matrix ? ", with matrices" : ""),
);

const config = preset("f16-16384", { lossconfig: { discStart: 0 } });
const model = new VQGAN(config, new Random(1), { withLoss: true });
model.loss!.perceptual_loss!.ready = true; // random weights are enough for counting
const trainer = new Trainer(model, { learningRate: () => 1e-6, precision });
const pictures = new Random(2).uniform([batch, size, size, 3], -1, 1);

const step = () =>
  asyncScope(async () => {
    const { logs } = await trainer.trainStep([pictures]);
    return await logs["train/total_loss"].item();
  });
const start = performance.now();
console.log(`loss ${(await step()).toPrecision(5)} after the first step, ${seconds(start)} with compiling`);

/** A call of a kernel (src/backends/kernels.ts), and the calls on the GPU that computed it. */
interface Call {
  readonly name: KernelName;
  readonly flops: number;
  readonly parts: { readonly name: string; readonly bytes: number; ms: number }[];
}
const calls: Call[] = [];
const run = backend.run.bind(backend);
backend.run = <K extends KernelName>(name: K, call: Calls[K]): void => {
  calls.push({ name, flops: kernels[name].flops(call), parts: [] });
  run(name, call);
};
gpu.trace = (name, bytes) => void calls.at(-1)!.parts.push({ name, bytes, ms: 0 });
const before = gpu.counts, second = performance.now();
console.log(`loss ${(await step()).toPrecision(5)} after the second, ${seconds(second)}`);
const after = gpu.counts, parts = calls.flatMap(({ parts }) => parts);
backend.run = run;
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
  let best = Infinity;
  for (let i = 0; i < 3; i++) { // the best of three, because a GPU that was idle is slow at first
    gpu.stopwatch = new Stopwatch(gpu.device);
    await step();
    const times = await gpu.stopwatch.read(), total = sumOf(times, "ms");
    if (total < best) times.forEach(({ ms }, part) => parts[part].ms = ms);
    best = Math.min(best, total);
  }
  gpu.stopwatch = null;
}

interface Total {
  calls: number;
  parts: number;
  bytes: number;
  flops: number;
  ms: number;
}
const totals = <C extends Omit<Call, "name">>(of: readonly C[], nameOf: (call: C) => string) => {
  const sums = new Map<string, Total>();
  for (const call of of) {
    const name = nameOf(call), sum = sums.get(name) ?? { calls: 0, parts: 0, bytes: 0, flops: 0, ms: 0 };
    sums.set(name, sum);
    sum.calls++;
    sum.parts += call.parts.length;
    sum.bytes += sumOf(call.parts, "bytes");
    sum.flops += call.flops;
    sum.ms += sumOf(call.parts, "ms");
  }
  return [...sums].sort(([, a], [, b]) => b.ms - a.ms || b.bytes - a.bytes);
};

/** The longer of the two times: for moving the bytes, and for doing the flops. */
const milliseconds = (bytes: number, flops: number) =>
  1e3 * Math.max(bytes / (Number(flags.gbps) * 1e9), flops / (Number(flags.tflops) * 1e12));
const line = (...cells: (string | number)[]) => console.log(`| ${cells.join(" | ")} |`);
const mega = (bytes: number) => (bytes / 1e6).toFixed(1), giga = (flops: number) => (flops / 1e9).toFixed(1);
const measured = (ms: number) => hasClock ? ms.toFixed(1) : "";
console.log(`\nms at ${flags.gbps} GB/s and ${flags.tflops} TFLOP/s, and measured:\n`);
line("kernel", "calls", "calls of the GPU", "MB bound", "GFLOP", "ms at that", "ms measured");
line("---", ...Array(6).fill("---:"));
let least = 0;
for (const [name, { calls: count, parts, bytes, flops, ms }] of totals(calls, ({ name }) => name)) {
  line(name, count, parts, mega(bytes), giga(flops), milliseconds(bytes, flops).toFixed(1), measured(ms));
  least += milliseconds(bytes, flops);
}
const [[, all]] = totals(calls, () => "all");
line("all", all.calls, all.parts, mega(all.bytes), giga(all.flops), least.toFixed(1), measured(all.ms));
// Multiplications at 256x256: forward and both gradients of encoder and decoder; VGG16 on two pictures, and the gradient of
// one; the discriminator on one picture with its gradient, then on two pictures with both gradients.
const area = batch * (size / 256) ** 2, flops = 2e9 * area * (3 * (69.2 + 126.4) + 3 * 20 + 8 * 2.7);
// What must be kept for backward is written and read once; then there are the weights twice, gradients and Adam's moments.
const { peak } = await estimateStep(config, { batch, height: size, width: size, precision });
const learnt = [...model.generatorParameters().values(), ...model.discriminatorParameters().values()]
  .reduce((sum, { size }) => sum + size * 4, 0);
const frozen = [...model.namedParameters().values()].reduce((sum, { size }) => sum + size * 4, 0) - learnt;
const bytes = 2 * (peak - 4 * learnt - frozen) + (2 + 2 + 6) * learnt + 3 * frozen;
const definition = milliseconds(bytes, 0) + milliseconds(0, flops);
line("the least, by definition", "", "", mega(bytes), giga(flops), definition.toFixed(1), "");

console.log();
line("kernel of the GPU", "calls", "MB bound", "ms measured");
line("---", ...Array(3).fill("---:"));
const single = parts.map((part) => ({ flops: 0, parts: [part] }));
for (const [name, total] of totals(single, ({ parts: [{ name }] }) => name.split(" ", 1)[0])) {
  line(name, total.calls, mega(total.bytes), measured(total.ms));
}
const dearest = totals(calls, ({ name, flops, parts }) => {
  const sizes = `${giga(flops)} GFLOP, ${mega(sumOf(parts, "bytes"))} MB`;
  return `${name} of ${sizes} (${parts.map(({ name }) => name).join(", ")})`;
});
for (const [name, { calls, ms, flops, bytes }] of dearest.slice(0, Number(flags.calls))) {
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

function sumOf<K extends string>(items: readonly Readonly<Record<K, number>>[], key: K): number {
  return items.reduce((sum, item) => sum + item[key], 0);
}

function seconds(since: number): string {
  return `${((performance.now() - since) / 1000).toFixed(1)} s`;
}
