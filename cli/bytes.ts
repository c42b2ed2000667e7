// A progress line over bytes, for work on files that may be done before one could read it.
import process from "node:process";
import { Progress } from "./progress.ts";

const megabyte = 1e6;
/** Milliseconds before there is a line at all. */
const patience = 1000;

/** Counts bytes of a total that shows with the first report. The line goes to stderr: stdout is for results. */
export function bytesProgress(label: string): { report(bytes: number, total: number): void; finish(): void } {
  const begun = performance.now();
  let line: Progress | null = null;
  return {
    report(bytes, total) {
      const done = Math.round(bytes / megabyte);
      if (!line && performance.now() - begun < patience) return;
      const options = { total: Math.round(total / megabyte), start: done, label, unit: "MB" };
      line ??= new Progress({ ...options, stream: process.stderr });
      line.update(done);
    },
    finish: () => line?.finish(),
  };
}
