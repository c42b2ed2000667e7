// The program that cli/fast.test.ts runs: it gets V8's flags as the command line does, and prints one JSON line. With the
// word "wait" it then waits for a signal; otherwise it reads standard input and ends with code 7.
import { readFileSync } from "node:fs";
import process from "node:process";
import { startFast, whyNotFast } from "../../cli/fast.ts";
import { hasWideFlags } from "../../src/backends/wasm/v8_flags.ts";

startFast();
const words = process.argv.slice(2);
const isWaiting = words.includes("wait");
console.log(JSON.stringify({
  pid: process.pid,
  isFast: hasWideFlags(),
  why: whyNotFast(),
  words,
  input: isWaiting ? "" : readFileSync(0, "utf8"),
  isTerminal: process.stdout.isTTY === true,
}));
if (isWaiting) setInterval(() => {}, 1000);
else process.exitCode = 7;
