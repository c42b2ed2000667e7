// What can only be tested from outside a process: that results do not depend on the number of threads, that an idle process
// uses no CPU time and ends by itself, and how much memory checkpoints save.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { WIDE_FLAGS } from "../../../../src/backends/wasm/wide.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

/** The environment for vectors of 256 bits. Only optimized code has them, so the baseline compiler is turned off. */
const wide = { DENO_V8_FLAGS: [...WIDE_FLAGS, "--no-liftoff"].join() };
const canBeWide = !process.versions.bun && process.arch === "x64";

/** Returns what a job of child.ts, or page.ts, prints. Rejects if the child does not end by itself within a minute. */
function child(job: string, threads: number, more: object = {}): Promise<{ out: string; err: string }> {
  const flags = process.versions.bun ? [] : ["run", "-A", "--no-check"];
  const file = job === "page" ? "page.ts" : "child.ts";
  const script = fileURLToPath(new URL(`../../../support/${file}`, import.meta.url));
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [...flags, script, job], {
      env: { ...process.env, TESSERA_THREADS: String(threads), DEBUG: "0", ...more },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => running.kill("SIGKILL"), 60_000);
    let out = "", err = "";
    running.stdout.on("data", (chunk) => out += chunk);
    running.stderr.on("data", (chunk) => err += chunk);
    running.on("error", reject);
    running.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve({ out, err });
      else reject(new Error(`${file} ${job} ended with ${code ?? signal}:\n${err}`));
    });
  });
}

/** The JSON line that a job prints. */
async function result<T>(job: string, threads: number, more: object = {}): Promise<T> {
  return JSON.parse((await child(job, threads, more)).out) as T;
}

// before the tests begin, because a test has only five seconds in Bun
const bits: string[] = [];
for (const threads of [1, 2, 2, 3]) bits.push(await result<string>("bits", threads));
const wideBits = canBeWide ? await result<string>("bits", 2, wide) : "";
const idle = await result<number>("idle", 2);
const [plain, checkpointed] = [await result<number>("plain", 1), await result<number>("checkpoint", 1)];
const page = await result<[string, number]>("page", 2);

const kernels = (await child("bits", 2, { DEBUG: "2" })).err.trim().split("\n");

describe("a process", () => {
  test("computes the same bits with one, two and three threads, and again", () => {
    expect(bits).toEqual(new Array<string>(4).fill(bits[0]));
  });

  const name = "computes the same bits with vectors of 256 bits";
  if (canBeWide) test(name, () => expect(wideBits).toBe(bits[0]));
  else test.skip(`${name}: only V8 on x64 has them`, () => {});

  test("uses less than a tenth of a core while it waits", () => {
    expect(idle).toBeLessThan(0.1);
  });

  test("needs less memory at its peak with checkpoints", () => {
    // The tape keeps four pictures per block, a checkpoint keeps one; the block that is computed again needs all four.
    expect(checkpointed / plain).toBeLessThan(0.55);
  });

  test("computes on one thread where there is no `process`, as in a web page", () => {
    expect(page).toEqual(["CPU, 1 thread", 64 ** 2]);
  });

  test("prints every kernel's sizes, time and rates with DEBUG=2", () => {
    const line = /^cpu \w+ \{.+\} \d+\.\d+ ms \d+\.\d GFLOP\/s \d+\.\d GB\/s$/;
    expect(kernels.filter((text) => !line.test(text))).toEqual([]);
    const names = new Set(kernels.map((text) => text.split(" ")[1]));
    const some = [
      "conv2d",
      "conv2dWeightGrad",
      "groupNorm",
      "lpipsDistance",
      "maxPool2d",
      "softmax",
      "matmul",
    ];
    expect(some.filter((name) => !names.has(name))).toEqual([]);
  });
});
