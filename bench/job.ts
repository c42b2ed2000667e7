// Runs one benchmark job, in a process of its own so that its peak memory can be measured:
//   deno run -A bench/job.ts step --size 256 --batch 1 --repeat 3 --threads 2
// It prints one JSON line in the format of bench/pytorch_vqgan.py, which does the same work on the same numbers. With
// --device webgpu it runs on the GPU, and peakBytes is what the GPU had reserved; with --precision f16 it runs in f16.
import process from "node:process";
import { parseArgs } from "node:util";
import { preset } from "../data/formats/config.ts";
import { type Precision, setPrecision, VQGAN } from "../nn/index.ts";
import { asyncScope, device, type DeviceName, memory, type Tensor } from "../src/index.ts";
import { Trainer } from "../train/trainer.ts";
import { median, peakBytes } from "./children.ts";
import { drawnImage, drawnPicture, fillModel } from "./fill.ts";

const JOBS = ["encode", "decode", "step"] as const;

const { positionals: [job], values: options } = parseArgs({
  allowPositionals: true,
  options: {
    size: { type: "string", default: "256" },
    batch: { type: "string", default: "1" },
    repeat: { type: "string", default: "3" },
    warmup: { type: "string", default: "1" },
    threads: { type: "string", default: "2" },
    device: { type: "string", default: "cpu" },
    precision: { type: "string", default: "f32" },
    recompute: { type: "boolean", default: false },
  },
});
const number = (name: "size" | "batch" | "repeat" | "warmup" | "threads"): number => {
  const value = Number(options[name]);
  if (!Number.isInteger(value) || value < (name === "warmup" ? 0 : 1)) {
    throw new Error(`--${name} must be a whole number, not "${options[name]}"`);
  }
  return value;
};

const precision = options.precision as Precision;

/** Prepares the job. Each call of the returned function runs it once and returns a number that must be equal on both sides. */
function prepare(size: number, batch: number): () => Promise<number> {
  const model = new VQGAN(preset("f16-16384"), null, { withLoss: job === "step" });
  fillModel(model.stateDict());
  setPrecision(model, precision);
  const sumOf = async (t: Tensor) => {
    let sum = 0;
    for (const value of await t.data()) sum += value;
    return sum;
  };
  if (job === "decode") {
    const latents = drawnImage("q", [batch, 256, size / 16, size / 16], 0.5);
    return () => asyncScope(() => sumOf(model.decode(latents)));
  }
  const images = drawnPicture("x0", batch, size);
  if (job === "encode") return () => asyncScope(() => sumOf(model.encode(images).indices));
  if (model.loss?.perceptual_loss) model.loss.perceptual_loss.ready = true;
  const trainer = new Trainer(model, {
    learningRate: () => 4.5e-6 * batch,
    precision,
    tamingExact: options.recompute,
  });
  return () =>
    asyncScope(async () => {
      const { logs } = await trainer.trainStep([images]);
      return logs["train/total_loss"].item();
    });
}

if (!(JOBS as readonly string[]).includes(job)) {
  throw new Error(`job "${job ?? ""}" is not one of ${JOBS.join(", ")}`);
}
process.env.TESSERA_THREADS = String(number("threads")); // read when the first tensor is made
await device(options.device as DeviceName);
const run = prepare(number("size"), number("batch"));
const seconds: number[] = [], cpuSeconds: number[] = [], values: number[] = [];
for (let i = 0; i < number("warmup") + number("repeat"); i++) {
  console.error(`run ${i + 1}`); // bench/roofline.ts uses it to separate the kernels of the runs
  const start = performance.now(), before = process.cpuUsage();
  values.push(await run());
  if (i < number("warmup")) continue;
  const { user, system } = process.cpuUsage(before);
  seconds.push(Math.round(performance.now() - start) / 1000);
  cpuSeconds.push(Math.round((user + system) / 1000) / 1000);
}
console.log(JSON.stringify({
  job,
  seconds,
  median: median(seconds),
  cpuSeconds,
  peakBytes: options.device === "cpu" ? peakBytes() : memory().reservedBytes,
  tensorPeakBytes: memory().peakBytes,
  runtime: process.versions.bun ? `bun ${process.versions.bun}` : `deno ${process.versions.deno}`,
  threads: number("threads"),
  size: number("size"),
  batch: number("batch"),
  device: options.device,
  precision,
  value: values[0],
  ...(job === "step" ? { reconstruction: options.recompute ? "recomputed" : "reused" } : {}),
}));
process.exit(0);
