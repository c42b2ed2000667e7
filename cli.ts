#!/usr/bin/env -S deno run -A
// Runs the command `tessera`, whose parts are in cli/. They are loaded only after V8 has got its flags.
import process from "node:process";
import { startFast } from "./cli/fast.ts";

if (import.meta.main !== false) startFast();
const { runCommandLine } = await import("./cli/program.ts");

process.stdout.on("error", (error: Error & { code?: string }) => {
  if (error.code !== "EPIPE") throw error;
  process.exit(0); // the reader has closed the pipe, as `| head` does
});
process.exitCode = await runCommandLine(process.argv.slice(2));
