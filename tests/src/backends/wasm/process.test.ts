// What can only be tested from outside a process: that results do not depend on the number of threads, that an idle process
// uses no CPU time and ends by itself, and how much memory checkpoints save.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import process from "node:process";
import { WIDE_FLAGS } from "../../../../src/backends/wasm/v8_flags.ts";
import { outputOf } from "../../../support/own_process.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

/** The environment for vectors of 256 bits. Only optimized code has them, so the baseline compiler is turned off. */
const wide = { DENO_V8_FLAGS: [...WIDE_FLAGS, "--no-liftoff"].join() };
const canBeWide = !process.versions.bun && process.arch === "x64";

/** Returns what a job of child.ts, or page.ts, prints. */
const child = (job: string, threads: number, more: object = {}): Promise<{ out: string; err: string }> =>
  outputOf(job === "page" ? "page.ts" : "child.ts", [job], { TESSERA_THREADS: String(threads), ...more });

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
    expect(page).toEqual(["CPU, 1 thread, vectors of 128 bits", 64 ** 2]);
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
