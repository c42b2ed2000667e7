// What can only be seen from outside a process: that results do not depend on the number of threads, that a process
// which waits burns no CPU and ends by itself, and how much memory checkpoints save.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

/** The JSON line of a job of child.ts; rejects if the child does not end by itself within a minute. */
function child<T>(job: string, threads: number): Promise<T> {
  const flags = process.versions.bun ? [] : ["run", "-A", "--no-check"];
  const script = fileURLToPath(new URL("./child.ts", import.meta.url));
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [...flags, script, job], {
      env: { ...process.env, TESSERA_THREADS: String(threads) },
      stdio: ["ignore", "pipe", "inherit"],
    });
    const timer = setTimeout(() => running.kill("SIGKILL"), 60_000);
    let output = "";
    running.stdout.on("data", (chunk) => output += chunk);
    running.on("error", reject);
    running.on("close", (code, signal) => {
      clearTimeout(timer);
      if (code === 0) resolve(JSON.parse(output) as T);
      else reject(new Error(`child.ts ${job} ended with ${code ?? signal}`));
    });
  });
}

// before the tests begin, for a test has five seconds in Bun
const bits: string[] = [];
for (const threads of [1, 2, 2, 3]) bits.push(await child<string>("bits", threads));
const idle = await child<number>("idle", 2);
const [plain, checkpointed] = [await child<number>("plain", 1), await child<number>("checkpoint", 1)];

describe("a process", () => {
  test("computes the same bits with one, two and three threads, and again", () => {
    expect(bits).toEqual(new Array<string>(4).fill(bits[0]));
  });

  test("uses less than a tenth of a core while it waits", () => {
    expect(idle).toBeLessThan(0.1);
  });

  test("needs less memory at its peak with checkpoints", () => {
    // The tape keeps four pictures a block, checkpoints one; the block being computed again needs its four at once.
    expect(checkpointed / plain).toBeLessThan(0.55);
  });
});
