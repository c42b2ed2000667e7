// The report of bench: tables for the terminal and for Markdown, and everything in JSON.
import { join } from "node:path";
import { writeAtomic } from "../../data/files/atomic.ts";
import { jobNames } from "./jobs.ts";
import type { Timings } from "./measure.ts";
import { references } from "./reference.ts";

/** The timings of a model on a device. */
export interface Result {
  readonly model: "small" | "full";
  readonly title: string;
  readonly device: string;
  readonly timings: Timings;
}

/** Everything that bench found out. */
export interface Report {
  readonly tessera: string;
  /** When it was measured. */
  readonly date: string;
  /** What machine it was, one fact for each name, such as `processor`. */
  readonly machine: Readonly<Record<string, string>>;
  /** What was checked before, one result for each device. */
  readonly checks: Readonly<Record<string, string>>;
  readonly results: readonly Result[];
}

/** Three digits: 6.20 s, 331 ms, 8.04 ms. */
export function formatSeconds(seconds: number): string {
  return seconds >= 0.9995 ? `${seconds.toPrecision(3)} s` : `${Number((seconds * 1000).toPrecision(3))} ms`;
}

/** A Markdown table whose columns are aligned, so that it can be read in a terminal too. The first column is text. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0].map((_, column) => Math.max(4, ...rows.map((row) => row[column].length)));
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const padded = rows.map((row) =>
    line(row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
  );
  const rule = line(widths.map((width, i) => i === 0 ? "-".repeat(width) : `${"-".repeat(width - 1)}:`));
  return [padded[0], rule, ...padded.slice(1)].join("\n");
}

/** The table of a model: this machine's devices, and for the published model the figures of others. */
export function tableOf(model: Result["model"], results: readonly Result[]): string {
  const here = results.filter((result) => result.model === model);
  const others = model === "full" ? references : [];
  const time = (seconds: number | undefined) => seconds === undefined ? "" : formatSeconds(seconds);
  return table([
    [
      here[0].title,
      ...here.flatMap(({ device }) => [`${device} here`, "GFLOP/s"]),
      ...others.map(({ name }) => name),
    ],
    ...jobNames.map((name) => [
      name,
      ...here.flatMap(({ timings }) => [time(timings[name].median), timings[name].gflops.toPrecision(3)]),
      ...others.map(({ seconds }) => time(seconds[name])),
    ]),
  ]);
}

/** The report as Markdown, to be shared. */
export function toMarkdown(report: Report): string {
  const models = (["full", "small"] as const).filter((name) => report.results.some((r) => r.model === name));
  const list = (facts: Readonly<Record<string, string>>) =>
    Object.entries(facts).map(([name, text]) => `- ${name}: ${text}`).join("\n");
  return `# tessera bench ${report.tessera}, ${report.date}

${list(report.machine)}

Checked before:

${list(report.checks)}

Medians, one picture at a time, random weights. The step of f16-16384 includes its discriminator and LPIPS, that of the small
model its discriminator. GFLOP/s count the operations of the definition.

${models.map((model) => tableOf(model, report.results)).join("\n\n")}
`;
}

/** Writes bench.json and bench.md, or files of other names, into a folder. @returns their paths */
export async function writeReport(folder: string, name: string, report: Report): Promise<string[]> {
  const texts = { json: `${JSON.stringify(report, null, 2)}\n`, md: toMarkdown(report) };
  const paths: string[] = [];
  for (const [ending, text] of Object.entries(texts)) {
    const path = join(folder, `${name}.${ending}`);
    await writeAtomic(path, (file) => file.writeFile(text));
    paths.push(path);
  }
  return paths;
}
