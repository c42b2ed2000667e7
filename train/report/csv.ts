// The metrics of a run as a table for spreadsheets: one row for each step, one column for each metric (RFC 4180).
import type { Metrics } from "./metrics_file.ts";

/** Formats metrics. Several lines of one step become one row. A cell is empty where a step has no such metric. */
export function formatCsv(metrics: readonly Metrics[]): string {
  const rows = new Map<number, Record<string, number | string>>(), names = new Set(["step"]);
  for (const line of metrics) {
    const row = rows.get(line.step) ?? {};
    rows.set(line.step, Object.assign(row, line));
    for (const name of Object.keys(line)) names.add(name);
  }
  const columns = [...names], lines = [columns.map(cell).join(",")];
  for (const row of rows.values()) lines.push(columns.map((name) => cell(row[name])).join(","));
  return lines.map((line) => `${line}\n`).join("");
}

/** A text that a spreadsheet would take for a formula is no formula any more after an apostrophe. */
function cell(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "number") return String(value);
  const text = String(value).replace(/^[=+\-@\t\r]/, "'$&");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
