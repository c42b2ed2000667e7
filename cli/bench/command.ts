// tessera bench: measures encoding, decoding and a training step on this machine, beside the figures of others.
import { mkdir } from "node:fs/promises";
import { freemem, loadavg, totalmem } from "node:os";
import process from "node:process";
import { Command, Option } from "commander";
import deno from "../../deno.json" with { type: "json" };
import { formatBytes } from "../../data/index.ts";
import { device } from "../../src/index.ts";
import { estimateStep } from "../../train/index.ts";
import { checkEngine } from "../doctor/known_convolution.ts";
import { describeProcessor, describeRuntime } from "../machine.ts";
import { messageOf } from "../messages.ts";
import { print } from "../print.ts";
import { formatDuration, Progress } from "../progress.ts";
import { type Cost, countWork, type Subject, subjects } from "./jobs.ts";
import { knownLosses, whatIsWrong } from "./known_answer.ts";
import { estimateSeconds, measure, type Timings } from "./measure.ts";
import { type Report, type Result, tableOf, writeReport } from "./report.ts";

interface Flags {
  readonly device?: "cpu" | "webgpu";
  readonly small: boolean;
  readonly out: string;
}

const examples = `
Examples:
  $ tessera bench                                    a minute or two on two cores
  $ tessera bench --small                            only the small model: seconds
  $ tessera bench --device webgpu

It measures the CPU, and the GPU if there is one: first the small model, then one of the shape of the published model
(f16-16384) with random weights, if memory suffices. Before that it checks that the device computes correctly. Close
other programs: they share the time. The report is made to be shown to others; it has no names of users or machines.

The exit code is 1 if a device computes wrongly, or the GPU that was asked for is missing.`;

const names = { cpu: "CPU", webgpu: "GPU" } as const;
type Name = keyof typeof names;

/** How much more memory than its tensors a training step takes, runtime included. */
const roomy = 1.4;
/** A GPU times its tiles in the first seconds. */
const warmUp = { CPU: 1, GPU: 5 } as const;

export function benchCommand(): Command {
  const only = new Option("--device <name>", "measure this device only").choices(["cpu", "webgpu"]);
  return new Command("bench").description("measure the speed of this machine, beside the figures of others")
    .addOption(only)
    .option("--small", "only the small model", false)
    .option("--out <folder>", "where to write the report, as JSON and Markdown", ".")
    .addHelpText("after", examples)
    .action(bench);
}

async function bench(flags: Flags): Promise<void> {
  await mkdir(flags.out, { recursive: true });
  const date = new Date().toISOString().slice(0, 19);
  const report = {
    tessera: deno.version,
    date,
    machine: describeMachine(),
    checks: {},
    results: [],
  } as Draft;
  for (const [name, text] of Object.entries(report.machine)) print(`${name}: ${text}`);
  for (const name of flags.device ? [flags.device] : ["cpu", "webgpu"] as const) {
    const isRight = await isReady(name, report) && await isCorrect(name, report);
    if (!isRight) {
      if (flags.device || report.checks[names[name]]) process.exitCode = 1;
      continue;
    }
    await measureDevice(names[name], report, flags.small);
  }
  if (report.results.length === 0) return;
  for (const model of ["small", "full"] as const) {
    if (report.results.some((result) => result.model === model)) {
      print("", ...tableOf(model, report.results).split("\n"));
    }
  }
  const paths = await writeReport(flags.out, `tessera-bench-${date.replaceAll(":", "-")}`, report);
  print("", `report to share: ${paths.join(", ")}`);
}

/** A report that is being written. */
interface Draft extends Report {
  readonly machine: Record<string, string>;
  readonly checks: Record<string, string>;
  readonly results: Result[];
}

function describeMachine(): Record<string, string> {
  const [load] = loadavg();
  return {
    runtime: describeRuntime(),
    processor: describeProcessor(),
    memory: formatBytes(totalmem()),
    load: `${load.toFixed(1)} at the start${
      load > 0.5 ? ": BUSY, so everything takes longer than it would" : ""
    }`,
  };
}

/** Opens the device, and puts its description or what is missing into the report. */
async function isReady(name: Name, { machine }: Draft): Promise<boolean> {
  const opened = await device(name).catch((error: unknown) => messageOf(error));
  machine[names[name]] = typeof opened === "string" ? opened : opened.description.replace(/^CPU, /, "");
  print(`${names[name]}: ${machine[names[name]]}`);
  return typeof opened !== "string";
}

/** Checks a convolution and three training steps, and puts the result into the report. */
async function isCorrect(name: Name, { checks }: Draft): Promise<boolean> {
  const { found, advice } = await checkEngine(name), wrong = advice ?? whatIsWrong(await knownLosses());
  checks[names[name]] = wrong || `${found.replace(/, [^,]*$/, "")}; three training steps as they should be`;
  print(`checked: ${checks[names[name]]}`);
  return wrong === "";
}

/** Measures the small model, and the published one if there is memory for it. */
async function measureDevice(name: keyof typeof warmUp, { results }: Draft, isSmall: boolean): Promise<void> {
  const { small, full } = subjects;
  const cost = await countWork(small);
  const timings = await measureModel(small, cost, name);
  results.push({ model: "small", title: small.name, device: name, timings });
  if (isSmall) return;
  const { peak } = await estimateStep(full.config, {
    batch: 1,
    height: full.size,
    width: full.size,
    precision: "f32",
  });
  if (peak * roomy > freemem()) {
    const problem = `needs about ${formatBytes(peak * roomy)} of memory, and ${
      formatBytes(freemem())
    } are free`;
    print(`${full.name}: left out, because it ${problem}`);
    return;
  }
  const fullCost = await countWork(full), seconds = estimateSeconds(fullCost, { timings, cost });
  print(`${full.name}: takes about ${formatDuration(seconds)}; Ctrl-C stops`);
  results.push({
    model: "full",
    title: full.name,
    device: name,
    timings: await measureModel(full, fullCost, name),
  });
}

async function measureModel(subject: Subject, cost: Cost, device: keyof typeof warmUp): Promise<Timings> {
  const progress = new Progress({ total: 100, label: `${subject.name}, ${device}`, unit: "%" });
  const timings = await measure(
    subject,
    cost,
    warmUp[device],
    (share) => progress.update(Math.round(100 * share)),
  );
  progress.finish();
  return timings;
}
