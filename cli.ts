#!/usr/bin/env -S deno run -A
// The command `tessera`; its parts are in cli/.
import process from "node:process";
import { runCommandLine } from "./cli/program.ts";

process.exitCode = await runCommandLine(process.argv.slice(2));
