// Output that never ends the work on which it reports: a full disk behind a log file, or a terminal that was closed.
import process from "node:process";
import { print } from "./print.ts";

/** Prints lines, if they can be printed. */
export function say(...lines: readonly string[]): void {
  try {
    print(...lines);
  } catch {
    // Deno throws where Bun drops the line
  }
}

/** The standard output for a progress line. */
export const output = {
  write(text: string): void {
    try {
      process.stdout.write(text);
    } catch {
      // as in `say`
    }
  },
  get isTTY(): boolean {
    return process.stdout.isTTY === true;
  },
  get columns(): number {
    return process.stdout.columns;
  },
};
