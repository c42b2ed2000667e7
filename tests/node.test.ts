// Node runs the sources directly, because it erases the types. This needs Node 22.18 or later, on PATH or named by NODE;
// without it the test is skipped.
import { expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { expectClose } from "./support/expectations.ts";
import { type Journey, journey } from "./support/journey.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds

const node = process.env.NODE ?? "node";
const version = spawnSync(node, ["--version"], { encoding: "utf8" }).stdout?.trim() ?? "";
const [major, minor] = version.slice(1).split(".").map(Number);
const isNew = major > 22 || (major === 22 && minor >= 18);
const name = "Node runs core.ts and mod.ts, encodes, decodes and trains on all threads, and ends by itself";

if (!isNew) {
  test.skip(`${name}: ${version ? `${node} is ${version}` : `no ${node}`}, NODE may name one from 22.18 on`, () => {});
} else {
  test(name, async () => {
    const script = fileURLToPath(new URL("./support/node.ts", import.meta.url));
    const env = { ...process.env, TESSERA_THREADS: "3" };
    const { status, stdout, stderr } = spawnSync(node, [script], { encoding: "utf8", env, timeout: 100_000 });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    const found: Journey = JSON.parse(stdout), wanted = await journey();
    expect(found.device).toBe("CPU, 3 threads, vectors of 128 bits");
    expect(found.tokens).toEqual(wanted.tokens);
    // Bun's WebAssembly rounds differently from Deno's and Node's
    expectClose(found.values, wanted.values, 1e-4);
    expectClose(found.losses, wanted.losses, 1e-4);
  });
}
