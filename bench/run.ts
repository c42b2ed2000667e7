// Compares Tessera with PyTorch (and with onnxruntime, for inference) on the CPU, in turns, each run in a process of its own:
//   PYTHON=venv/bin/python deno run -A bench/run.ts        or: bun bench/run.ts
//   options: --jobs encode,decode,step  --size 256  --batch 1  --rounds 2  --repeat 2  --threads 2  --warmup 1
//   on a GPU: --device webgpu [--precision f16], compared with PyTorch's CUDA (in TF32 with --tf32)
// It ends with a table of medians, ratios (ours / PyTorch; below 1 we are faster) and the peak memory of the whole process. It
// also has the ratios of the processor time of all threads, which depend less on how busy the machine is.
import process from "node:process";
import { parseArgs } from "node:util";
import { WIDE } from "../src/backends/wasm/wide.ts";
import { hasModule, load, median, ours, table, theirs, torchVersion } from "./children.ts";

/** The line that bench/job.ts, pytorch_vqgan.py and onnx_vqgan.py print. */
interface Line {
  job: string;
  seconds: number[];
  cpuSeconds: number[];
  peakBytes: number;
  value: number;
}

const { values: options } = parseArgs({
  options: {
    jobs: { type: "string", default: "encode,decode,step" },
    size: { type: "string", default: "256" },
    batch: { type: "string", default: "1" },
    rounds: { type: "string", default: "2" },
    repeat: { type: "string", default: "2" },
    threads: { type: "string", default: "2" },
    warmup: { type: "string", default: "1" },
    device: { type: "string", default: "cpu" },
    precision: { type: "string", default: "f32" },
    tf32: { type: "boolean", default: false },
  },
});
const common = ["size", "batch", "repeat", "threads", "warmup"] as const;
const shared = common.flatMap((name) => [`--${name}`, options[name]]);
const isGpu = options.device !== "cpu";
const here = ["--device", options.device, "--precision", options.precision];
const there = ["--device", isGpu ? "cuda" : "cpu", "--precision", options.tf32 ? "tf32" : options.precision];

/** A job, and the arguments that select it on each side. */
interface Variant {
  readonly name: string;
  readonly job: string;
  readonly ours: readonly string[];
  readonly theirs: readonly string[];
}

const variants: Variant[] = [
  { name: "encode", job: "encode", ours: [], theirs: [] },
  { name: "decode", job: "decode", ours: [], theirs: [] },
  { name: "step, reused", job: "step", ours: [], theirs: ["--reuse"] },
  { name: "step, recomputed", job: "step", ours: ["--recompute"], theirs: ["--recompute"] },
].filter(({ job }) => options.jobs.split(",").includes(job));
if (variants.length === 0) throw new Error(`--jobs ${options.jobs}: none of encode, decode, step`);

/** All timings of one side of one variant. */
class Timings {
  readonly seconds: number[] = [];
  readonly cpuSeconds: number[] = [];
  peakBytes = 0;
  value: number | undefined;

  add({ seconds, cpuSeconds, peakBytes, value }: Line): void {
    this.seconds.push(...seconds);
    this.cpuSeconds.push(...cpuSeconds);
    this.peakBytes = Math.max(this.peakBytes, peakBytes);
    this.value = value;
  }

  get median(): number {
    return median(this.seconds);
  }

  get cpu(): number {
    return median(this.cpuSeconds);
  }

  get memory(): string {
    return (this.peakBytes / 1e9).toFixed(2);
  }
}

const torch = torchVersion();
const withOnnx = torch !== null && !isGpu && hasModule("onnxruntime", "onnx");
const runtime = process.versions.bun
  ? `Bun ${process.versions.bun}`
  : `Deno ${process.versions.deno}, ${WIDE ? 256 : 128} bits`;
console.log(
  `${runtime}${torch ? ` beside torch ${torch}` : ""}, ${options.threads} threads, ` +
    `${options.device}, ${options.precision}, ${options.size}x${options.size}, batch ${options.batch}; ${
      load(Number(options.threads))
    }`,
);

const mine = new Map(variants.map(({ name }) => [name, new Timings()]));
const peers = new Map(variants.map(({ name }) => [name, new Timings()]));
const onnx = new Map(
  variants.filter(({ job }) => withOnnx && job !== "step").map(({ name }) => [name, new Timings()]),
);
for (let round = 1; round <= Number(options.rounds); round++) {
  for (const { name, job, ours: mineArgs, theirs: theirArgs } of variants) {
    mine.get(name)!.add(ours<Line>("job.ts", [job, ...shared, ...here, ...mineArgs])[0]);
    if (torch) {
      peers.get(name)!.add(theirs<Line>("pytorch_vqgan.py", [job, ...shared, ...there, ...theirArgs])[0]);
    }
    onnx.get(name)?.add(theirs<Line>("onnx_vqgan.py", [job, ...shared])[0]);
    const sides = Object.entries({
      ours: mine,
      torch: torch ? peers : new Map<string, Timings>(),
      onnxruntime: onnx,
    });
    const times = sides.flatMap(([side, timings]) => {
      const seconds = timings.get(name)?.seconds.slice(-Number(options.repeat)).join(" ");
      return seconds === undefined ? [] : [`${side} ${seconds} s`];
    });
    console.log(`round ${round}  ${name}: ${times.join(", ")}`);
  }
}

/** One line of the table: one of our variants compared with one of theirs. */
function compare(own: string, other: string, theirs = peers): string[] {
  const a = mine.get(own)!, b = theirs.get(other)!;
  const name = theirs === onnx
    ? `${own} / onnxruntime`
    : own === other
    ? own
    : `${own} / ${other.replace("step, ", "")}`;
  if (!torch) return [name, a.median.toFixed(3), a.memory];
  return [
    name,
    a.median.toFixed(3),
    b.median.toFixed(3),
    `${(a.median / b.median).toFixed(2)}x`,
    `${(a.cpu / b.cpu).toFixed(2)}x`,
    a.memory,
    b.memory,
  ];
}

const rows = variants.map(({ name }) => compare(name, name));
for (const name of onnx.keys()) rows.push(compare(name, name, onnx));
if (torch && mine.has("step, reused")) rows.push(compare("step, reused", "step, recomputed"));
const header = torch
  ? ["ours / PyTorch", "ours s", "theirs s", "ratio", "CPU time", "ours GB", "theirs GB"]
  : ["job", "seconds", "GB"];
console.log(`\n${table([header, ...rows])}\n${load(Number(options.threads))}`);

// Both sides have the same weights and pictures. If their results differed, the times would mean nothing.
for (const { name } of variants) {
  const [a, b] = [mine.get(name)!.value, peers.get(name)!.value];
  if (a === undefined || b === undefined) continue;
  if (Math.abs(a - b) > 2e-3 * Math.max(1, Math.abs(b))) {
    console.log(`${name}: results differ, ${a} and ${b}`);
  }
}
