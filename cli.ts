#!/usr/bin/env -S deno run -A
// Runs the command `tessera`, whose parts are in cli/. They are loaded only after V8 has got its flags.
import process from "node:process";
import { startFast } from "./cli/fast.ts";

if (import.meta.main !== false) startFast();
const { isClosed, isInterruptible } = await import("./cli/interrupt.ts");
const { runCommandLine } = await import("./cli/program.ts");

process.stdout.on("error", (error: Error) => {
  if (isInterruptible()) return; // the work ends in good order
  if (isClosed(error)) process.exit(process.exitCode ?? 0); // the reader has closed the pipe, as `| head` does
  console.error(`tessera: the output cannot be written: ${error.message}`);
  process.exit(process.exitCode ?? 1);
});
process.exitCode = await runCommandLine(process.argv.slice(2));
