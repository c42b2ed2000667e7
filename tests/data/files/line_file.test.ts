// Files that grow by whole lines, after kills and on full disks.
import { afterAll, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { appendFile, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LineFile } from "../../../data/files/line_file.ts";

const folder = await mkdtemp(join(tmpdir(), "tessera-lines-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const text = (path: string): Promise<string> => readFile(path, "utf8");

test("lines are added in order, also when nobody waits for them", async () => {
  const path = join(folder, "metrics.jsonl"), file = new LineFile(path);
  await Promise.all(Array.from({ length: 50 }, (_, i) => file.add(`line ${i}`)));
  expect(await text(path)).toBe(Array.from({ length: 50 }, (_, i) => `line ${i}\n`).join(""));
});

test("half a line of a process that was killed is removed", async () => {
  const path = join(folder, "cut.jsonl"), long = "x".repeat(200_000);
  for (
    const [before, kept] of [["one\ntwo\nthr", "one\ntwo\n"], ["on", ""], [`${long}\n${long}`, `${long}\n`]]
  ) {
    await writeFile(path, before);
    await new LineFile(path).add("next");
    expect(await text(path)).toBe(`${kept}next\n`);
  }
});

test("a file that somebody else cuts, removes or extends goes on with whole lines", async () => {
  const path = join(folder, "edited.jsonl"), file = new LineFile(path);
  await file.add("one");
  await appendFile(path, "a note\nand h");
  await file.add("two");
  expect(await text(path)).toBe("one\na note\ntwo\n");
  await rm(path);
  await file.add("three");
  expect(await text(path)).toBe("three\n");
});

test("a line that cannot be written waits for the next one", async () => {
  const path = join(folder, "blocked.jsonl"), file = new LineFile(path);
  await mkdir(path);
  await expect(file.add("one")).rejects.toThrow();
  await expect(file.add("two")).rejects.toThrow();
  expect(file.waiting).toBe(2);
  await rm(path, { recursive: true });
  await file.add("three");
  expect([file.waiting, await text(path)]).toEqual([0, "one\ntwo\nthree\n"]);
});

const disk = join(folder, "disk");
await mkdir(disk);
if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]).status !== 0) {
  console.log("line_file: no small disk can be mounted here, so a full one is not tested (run as root)");
} else {
  spawnSync("umount", [disk]);
  test("a full disk keeps the whole lines, and the others come when there is room", async () => {
    spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", disk]);
    try {
      const path = join(disk, "full.jsonl"), file = new LineFile(path), filler = join(disk, "filler");
      await writeFile(filler, new Uint8Array(16_384));
      const lines = Array.from({ length: 20 }, (_, i) => `${i} ${"y".repeat(3000)}`);
      let failures = 0;
      for (const line of lines) {
        await file.add(line).catch((error) => {
          expect(error.message).toBe(
            `${path} was not written (ENOSPC): the disk is full; make room and try again`,
          );
          failures++;
        });
      }
      expect(failures).toBeGreaterThan(2);
      expect(file.waiting).toBe(failures);
      const kept = lines.slice(0, lines.length - failures).map((line) => `${line}\n`).join("");
      expect([await text(path), (await stat(path)).size]).toEqual([kept, kept.length]);
      await rm(filler);
      await file.flush();
      expect(await text(path)).toBe(lines.map((line) => `${line}\n`).join(""));
    } finally {
      spawnSync("umount", [disk]);
    }
  });
}
