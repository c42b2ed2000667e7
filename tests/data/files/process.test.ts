// Which processes run and which have ended, and the room on a disk.
import { expect, test } from "bun:test";
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { place, startOf, stateOf } from "../../../data/files/process.ts";
import { freeBytes } from "../../../data/files/space.ts";

test("a process runs until it has ended", async () => {
  const child = spawn("sleep", ["60"], { stdio: "ignore" });
  const started = startOf(child.pid!);
  expect([stateOf(child.pid!), stateOf(child.pid!, started), stateOf(process.pid)]).toEqual(
    Array(3).fill("running"),
  );
  const ended = new Promise((resolve) => child.on("close", resolve));
  child.kill("SIGKILL");
  await ended;
  expect([stateOf(child.pid!), stateOf(child.pid!, started)]).toEqual(["ended", "ended"]);
  expect(stateOf(4_194_304)).toBe("ended"); // no process has this number
  expect(place()).toMatch(/^[\w.-]+$/);
});

if (existsSync("/proc/self/stat")) {
  test("a process that has the number of another one is not it", () => {
    const started = startOf(process.pid);
    expect(started).toBeGreaterThan(0);
    expect(stateOf(process.pid, started! - 1)).toBe("ended");
  });
}

test("the room on a disk is known for folders that are still to be made", async () => {
  const free = await freeBytes(tmpdir());
  expect(free).toBeGreaterThan(0);
  const soon = await freeBytes(join(tmpdir(), "none", "of", "these"));
  expect(Math.abs(soon! / free! - 1)).toBeLessThan(0.5); // the same disk, on which others write
});
