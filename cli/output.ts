// Output that never ends the work on which it reports: a full disk behind a log file, or a terminal that was closed.
import process from "node:process";

/** Prints a line, if it can be printed. */
export function say(line: string): void {
  try {
    console.log(line);
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
