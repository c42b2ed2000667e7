// The program that finetune's tests run: a command line in a process in which something else fails as soon as a run has
// metrics, and is caught by nobody: `thrower.ts FOLDER_OF_RUNS throw|reject WORD...`
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { runCommandLine } from "../../cli/program.ts";

const [runs, how, ...words] = process.argv.slice(2);
const timer = setInterval(() => {
  const names = existsSync(runs) ? readdirSync(runs) : [];
  if (!names.some((name) => name.endsWith(how) && existsSync(join(runs, name, "metrics.jsonl")))) return;
  clearInterval(timer);
  if (how === "throw") throw new Error("a timer failed");
  Promise.reject(new Error("a promise failed"));
}, 20);
process.exitCode = await runCommandLine(words);
