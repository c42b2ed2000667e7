#!/usr/bin/env -S deno run -A
// Runs the command `tessera`, whose parts are in cli/.
import process from "node:process";
import { isInterruptible } from "./cli/interrupt.ts";
import { runCommandLine } from "./cli/program.ts";

process.stdout.on("error", (error: Error & { code?: string }) => {
  if (isInterruptible()) return; // the work ends in good order
  if (error.code !== "EPIPE") throw error;
  process.exit(0); // the reader has closed the pipe, as `| head` does
});
process.exitCode = await runCommandLine(process.argv.slice(2));
