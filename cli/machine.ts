// What this machine and its runtime are, in words: for doctor, and for the report of bench.
import { availableParallelism, cpus } from "node:os";
import process from "node:process";
import { count } from "./options.ts";

/** The runtime and the system, such as "Deno 2.9.6 on linux x64". */
export function describeRuntime(): string {
  const { bun, deno, node } = process.versions;
  const name = bun ? `Bun ${bun}` : deno ? `Deno ${deno}` : `Node ${node}`;
  return `${name} on ${process.platform} ${process.arch}`;
}

/** The processor, such as "8 cores, AMD EPYC". */
export function describeProcessor(): string {
  const model = cpus()[0]?.model.trim() ?? "";
  return `${count(availableParallelism(), "core")}${model === "" ? "" : `, ${model}`}`;
}
