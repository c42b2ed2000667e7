// The program that data/bounds.test.ts runs in processes of their own: `reader_child.ts HOW FILE` uses a file as Tessera does
// and prints one JSON line with what came of it and what it cost.
import { readFileSync } from "node:fs";
import process from "node:process";
import { eachSample, formatInspectReport, inspect, openTokens } from "../../data/index.ts";
import { readTamingConfig } from "../../train/index.ts";

const uses: Readonly<Record<string, (path: string) => Promise<unknown>>> = {
  checkpoint: async (path) => formatInspectReport(await inspect(path)).length,
  async tokens(path) {
    let tokens = 0;
    for await (const { encoding } of (await openTokens(path)).records()) tokens += encoding.length;
    return tokens;
  },
  async archive(path) {
    let pictures = 0;
    for await (const _ of eachSample([path])) pictures++;
    return pictures;
  },
  config: (path) => readTamingConfig([path]),
};

const [, , how, path] = process.argv;
let error: string | null = null, kind = "";
try {
  await uses[how](path);
} catch (thrown) {
  [error, kind] = [(thrown as Error).message, (thrown as Error).constructor.name];
}
const { user, system } = process.cpuUsage();
const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
console.log(JSON.stringify({ error, kind, seconds: (user + system) / 1e6, megabytes: Number(peak) / 1000 }));
