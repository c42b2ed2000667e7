// What the benchmarks share: child processes and their JSON lines, medians, memory, and tables.
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { loadavg } from "node:os";
import process from "node:process";
import { fileURLToPath } from "node:url";

const here = (name: string) => fileURLToPath(new URL(name, import.meta.url));

/** The Python that has torch: $PYTHON, or python3. */
export const python = process.env.PYTHON ?? "python3";

function lines<T>(command: string, args: string[]): T[] {
  const { status, stdout, stderr, error } = spawnSync(command, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
  });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}:\n${stderr}`);
  return stdout.split("\n").filter((line) => line.startsWith("{")).map((line) => JSON.parse(line) as T);
}

/** Runs a script of this folder in the current runtime. */
export function ours<T>(script: string, args: string[]): T[] {
  const flags = process.versions.bun ? [] : ["run", "-A", "--no-check"];
  return lines(process.execPath, [...flags, here(script), ...args]);
}

/** Runs a command of Tessera, with its output here. @throws if it fails */
export function tessera(...words: string[]): void {
  const flags = process.versions.bun ? [] : ["run", "-A", "--no-check"];
  const { status } = spawnSync(process.execPath, [...flags, here("../cli.ts"), ...words], {
    stdio: "inherit",
  });
  if (status !== 0) throw new Error(`it ended with ${status}: tessera ${words.join(" ")}`);
}

/** The words of an option that holds several. */
export const split = (words: string): string[] => words.split(" ").filter((word) => word !== "");

/** Runs a Python script of this folder. */
export function theirs<T>(script: string, args: string[]): T[] {
  return lines(python, [here(script), ...args]);
}

/** Returns torch's version. If there is none, prints how to install it, and returns null. */
export function torchVersion(): string | null {
  const { status, stdout } = spawnSync(python, ["-c", "import torch; print(torch.__version__)"], {
    encoding: "utf8",
  });
  if (status === 0) return stdout.trim();
  console.log(
    `${python} has no torch, so there is nothing to compare with. Install it with\n` +
      "  python3 -m venv venv && venv/bin/pip install numpy torch==2.13.0 " +
      "--index-url https://download.pytorch.org/whl/cpu --extra-index-url https://pypi.org/simple\n" +
      "and run again with PYTHON=venv/bin/python",
  );
  return null;
}

/** Whether Python has all of these modules. */
export function hasModule(...names: string[]): boolean {
  return spawnSync(python, ["-c", `import ${names.join(", ")}`]).status === 0;
}

/** One line on how busy the machine is, because ratios measured on a busy machine mean little. */
export function load(threads: number): string {
  const [minute] = loadavg();
  return `load average ${minute.toFixed(1)}${
    minute > threads + 0.5 ? ": BUSY, these timings are noisy" : ""
  }`;
}

/** The peak memory of this process on Linux; on other systems the memory that it has now. */
export function peakBytes(): number {
  try {
    const line = readFileSync("/proc/self/status", "utf8").match(/^VmHWM:\s*(\d+) kB$/m);
    return Number(line?.[1]) * 1024;
  } catch {
    return process.memoryUsage().rss;
  }
}

/** The middle value. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b), half = sorted.length >> 1;
  return sorted.length % 2 ? sorted[half] : (sorted[half - 1] + sorted[half]) / 2;
}

/** A table whose first row is the header. The first column is aligned to the left, the others to the right. */
export function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, i) => Math.max(...rows.map((row) => row[i].length)));
  const line = (row: readonly string[]) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]))).join("  ");
  return [line(rows[0]), widths.map((w) => "-".repeat(w)).join("  "), ...rows.slice(1).map(line)].join("\n");
}
