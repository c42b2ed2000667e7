// Several ranks: how long the gradients of f16-16384 take between two of them, what share of a step that is, and what networks
// of other speeds would make of it.
//
//   deno run -A bench/ranks.ts [--size 64] [--repeat 3] [--only sums | steps | links]
//
// It needs Open MPI or MPICH. As root it also joins two network namespaces by links of limited speed, which shows how well the
// model in bench/network.ts foretells.
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Launcher, launchers } from "../tests/support/mpi.ts";
import { twoHosts } from "../tests/support/netns.ts";
import { load } from "./children.ts";
import { communication, gradientBytes, type Setting, stepTime } from "./network.ts";

const { values: options } = parseArgs({
  options: {
    size: { type: "string", default: "64" },
    repeat: { type: "string", default: "3" },
    only: { type: "string" },
  },
});
const isWanted = (part: "sums" | "steps" | "links") => (options.only ?? part) === part;
const runtime = process.versions.bun ? [] : ["run", "-A", "--no-check"];
const script = [process.execPath, ...runtime, fileURLToPath(new URL("./ranks_job.ts", import.meta.url))];

interface Sums {
  readonly bytes: number;
  readonly sum: number;
  readonly cpu: number;
  readonly message: number;
}
interface Steps {
  readonly computing: number;
  readonly step: number;
}

/** Runs the job and returns its line. */
function measured<T>(words: readonly string[], job: readonly string[], env: object = {}): T {
  const [program, ...rest] = [...words, ...script, ...job];
  const { stdout, stderr, status } = spawnSync(program, rest, {
    encoding: "utf8",
    env: { ...process.env, TESSERA_THREADS: "1", NO_COLOR: "1", ...env },
  });
  const line = stdout.split("\n").find((line) => line.startsWith("{"));
  if (status === 0 && line) return JSON.parse(line) as T;
  throw new Error(`${program} ${rest.join(" ")} ended with ${status}:\n${stderr}`);
}

const seconds = (time: number) => `${time.toFixed(time < 1 ? 3 : 2)} s`;

function describeLauncher({ name, words }: Launcher): number {
  const { sum, cpu, message } = measured<Sums>(words(2), ["sums", options.repeat]);
  console.log(
    `${name}, 2 ranks: 304 MB summed in ${seconds(sum)}, ${
      seconds(cpu)
    } of processor time a rank; a message ${(1e3 * message).toFixed(2)} ms`,
  );
  return cpu / gradientBytes; // which other work on the machine changes less than the time that it takes
}

/** Compares the model with links of limited speed between two hosts. */
function compareWithLinks({ name, onHosts }: Launcher, perByte: number): void {
  const folder = mkdtempSync(join(tmpdir(), "ranks-"));
  const hosts = twoHosts(folder);
  if (typeof hosts === "string") return console.log(`no links of limited speed here: ${hosts}`);
  try {
    for (const gigabits of [0.25, 0.5, 1]) {
      const [, , , space] = hosts.onFirst, other = space.replace(/a$/, "b");
      for (const one of [space, other]) {
        const limit = ["rate", `${1000 * gigabits}mbit`, "burst", "1mb", "latency", "50ms"];
        spawnSync("ip", [
          "netns",
          "exec",
          one,
          "tc",
          "qdisc",
          "replace",
          "dev",
          one,
          "root",
          "tbf",
          ...limit,
        ]);
      }
      const { sum } = measured<Sums>(onHosts(hosts), ["sums", "1"]);
      const model = communication({
        ranks: 2,
        bandwidth: 1e9 * gigabits / 8,
        perByte,
        computing: 0,
        hidden: 0,
        latency: 0,
      });
      console.log(
        `${name}, ${gigabits} Gb/s between two hosts: measured ${seconds(sum)}, model ${seconds(model)}`,
      );
    }
  } finally {
    hosts.remove();
    rmSync(folder, { recursive: true });
  }
}

/** What other networks would give. */
function foretell(perByte: number): void {
  const machines = [
    { name: "two CPU cores, a step of 3.8 s", computing: 3.8, hidden: 0.5 },
    { name: "a GPU, a step of 70 ms", computing: 0.07, hidden: 0.01 },
    { name: "a GPU, 16 batches a step", computing: 16 * 0.07, hidden: 0.01 },
  ];
  console.log("| | network | 2 ranks | 8 ranks | 64 ranks |\n|---|---|---|---|---|");
  for (const { name, ...machine } of machines) {
    for (const gigabits of [10, 100]) {
      const cells = [2, 8, 64].map((ranks) => {
        const setting: Setting = { ranks, bandwidth: 1e9 * gigabits / 8, perByte, latency: 5e-5, ...machine };
        const time = stepTime(setting), speedup = ranks * machine.computing / time;
        return `${seconds(time)}, ${Math.round(100 * (1 - machine.computing / time))} % waiting, ${
          speedup.toPrecision(2)
        } times`;
      });
      console.log(`| ${name} | ${gigabits} Gb/s | ${cells.join(" | ")} |`);
    }
  }
}

console.log(load(2));
if (launchers.length === 0) throw new Error("neither Open MPI nor MPICH is installed");
const perByte = Math.min(...launchers.map(describeLauncher));
if (isWanted("steps")) {
  const steps = (words: readonly string[]) => measured<Steps>(words, ["steps", options.repeat, options.size]);
  const alone = steps([]), together = steps(launchers[0].words(2));
  console.log(`1 rank, one thread, ${options.size}x${options.size}: a step ${seconds(alone.step)}`);
  console.log(
    `2 ranks, one thread each: a step ${seconds(together.step)}, without sums ${
      seconds(together.computing)
    }: ${Math.round(100 * (1 - together.computing / together.step))} % communication`,
  );
}
if (isWanted("links")) { for (const one of launchers) compareWithLinks(one, perByte); }
foretell(perByte);
console.log(load(2));
