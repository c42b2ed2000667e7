// Files that appear whole or not at all: processes that are killed while saving, and full disks. TESSERA_KILLS=100 sets
// how many processes are killed (default 6).
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { writeAtomic } from "../../../data/files/atomic.ts";
import { place } from "../../../data/files/process.ts";
import { Random } from "../../../src/random.ts";
import { saveAll, savedNames, versionOf } from "../../support/saves.ts";

const kills = Number(process.env.TESSERA_KILLS ?? 6);
setDefaultTimeout(60_000 + 5000 * kills);

const folder = await mkdtemp(join(tmpdir(), "tessera-atomic-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const script = fileURLToPath(new URL("../../support/saver.ts", import.meta.url));
const runner = [process.execPath, ...(process.versions.bun ? [] : ["run", "-A", "--no-check"]), script];

/** Starts a process that saves forever. Returns it with the lines that it has printed. */
function startSaving(into: string): { child: ChildProcess; lines: string[] } {
  const child = spawn(runner[0], [...runner.slice(1), into, "200000"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const lines: string[] = [];
  let rest = "";
  child.stdout!.on("data", (text) => {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    lines.push(...parts);
  });
  return { child, lines };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe("writeAtomic", () => {
  test("replaces a file, and keeps it if writing fails", async () => {
    const path = join(folder, "settings.json");
    await writeAtomic(path, (file) => file.writeFile("one"));
    await writeAtomic(path, async (file) => {
      await file.writeFile("two");
      expect(await readFile(path, "utf8")).toBe("one");
    });
    expect(await readFile(path, "utf8")).toBe("two");
    const fail = writeAtomic(path, async (file) => {
      await file.writeFile("half of thr");
      throw new Error("disk on fire");
    });
    await expect(fail).rejects.toThrow("disk on fire");
    expect(await readFile(path, "utf8")).toBe("two");
    expect((await readdir(folder)).filter((name) => name.includes("tmp"))).toEqual([]);
    await expect(writeAtomic(join(folder, "none", "a"), () => Promise.resolve())).rejects.toThrow("ENOENT");
  });

  test("follows no link that somebody has put under the name of its temporary file", async () => {
    const inner = join(folder, "planted"), victim = join(folder, "victim.txt");
    await mkdir(inner);
    await writeFile(victim, "precious");
    // the names that this process will use next end in a counter
    for (let n = 0; n < 200; n++) {
      await symlink(victim, join(inner, `.a.txt.${place()}-${process.pid}-${n}.tmp`));
    }
    await writeAtomic(join(inner, "a.txt"), (file) => file.writeFile("new"));
    expect(await readFile(join(inner, "a.txt"), "utf8")).toBe("new");
    expect(await readFile(victim, "utf8")).toBe("precious");
  });

  test("writes names of any length that the disk allows", async () => {
    for (const name of [`${"n".repeat(250)}.txt`, `${"ü".repeat(125)}.txt`]) {
      await writeAtomic(join(folder, name), (file) => file.writeFile("long"));
      expect(await readFile(join(folder, name), "utf8")).toBe("long");
    }
    const tooLong = writeAtomic(join(folder, "n".repeat(256)), (file) => file.writeFile(""));
    await expect(tooLong).rejects.toThrow("(ENAMETOOLONG): its name is longer than the disk allows");
  });

  test("two writers at the same time do not interfere", async () => {
    const path = join(folder, "race.txt");
    const contents = ["a", "b", "c", "d"].map((c) => c.repeat(100_000));
    await Promise.all(contents.map((text) => writeAtomic(path, (file) => file.writeFile(text))));
    expect(contents).toContain(await readFile(path, "utf8"));
  });
});

test(`${kills} processes killed at random moments leave either the old file or the new one`, async () => {
  const random = new Random(7);
  let unfinished = 0;
  for (let i = 0; i < kills; i++) {
    const into = join(folder, "killed");
    await mkdir(into, { recursive: true });
    const { child, lines } = startSaving(into);
    while (lines.length < savedNames.length && child.exitCode === null) await sleep(2);
    await sleep(random.next() * 60);
    const ended = new Promise((resolve) => child.on("close", resolve));
    child.kill("SIGKILL");
    await ended;
    for (const name of savedNames) {
      // a save that was reported is complete, the next one may be
      const reported = lines.filter((line) => line.endsWith(name)).map((line) => Number(line.split(" ")[0]))
        .at(-1)!;
      expect([reported, reported + 1]).toContain(await versionOf(join(into, name)));
    }
    if ((await readdir(into)).some((name) => name.endsWith(".tmp"))) unfinished++;
    await rm(into, { recursive: true });
  }
  console.log(`atomic: ${unfinished} of ${kills} kills happened while a file was being written`);
});

/** Runs the saver once, under a shell's command, with more values than fit. */
function starve(shell: string, into: string, size: number): { status: number | null; stderr: string } {
  const command = `${shell}exec "$@"`;
  return spawnSync("bash", ["-c", command, "bash", ...runner, into, String(size), "1"], { encoding: "utf8" });
}

/** Whether bash and this command work on this machine. */
function works(command: string): boolean {
  return spawnSync("bash", ["-c", command]).status === 0;
}

const limited = 'trap "" XFSZ; ulimit -f 500; ';
if (!works(limited)) {
  console.log("atomic: there is no bash with ulimit -f here, so files that grow too large are not tested");
} else {
  test("a file that grows too large gives a one-line error, and the old file stays", async () => {
    const into = join(folder, "limited");
    await mkdir(into);
    for await (const _ of saveAll(into, 1000, 1));
    const { status, stderr } = starve(limited, into, 200_000);
    expect(status).toBe(1);
    expect(stderr.trim()).toBe(
      `${join(into, "last.safetensors")} was not written (EFBIG): it is larger than the system allows; ` +
        "raise the limit (ulimit -f) or write elsewhere",
    );
    for (const name of savedNames) expect(await versionOf(join(into, name))).toBe(1);
    expect((await readdir(into)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
  });
}

const disk = join(folder, "disk");
await mkdir(disk);
const mount = `mount -t tmpfs -o size=2m tmpfs ${disk}`;
if (!works(`${mount} && umount ${disk}`)) {
  console.log("atomic: no small disk can be mounted here, so a full one is not tested (run as root)");
} else {
  test("a full disk gives a one-line error, and the old file stays", async () => {
    spawnSync("bash", ["-c", mount]);
    try {
      for await (const _ of saveAll(disk, 1000, 1));
      const { status, stderr } = starve("", disk, 200_000);
      expect(status).toBe(1);
      expect(stderr.trim()).toBe(
        `${
          join(disk, "last.safetensors")
        } was not written (ENOSPC): the disk is full; make room and try again`,
      );
      for (const name of savedNames) expect(await versionOf(join(disk, name))).toBe(1);
      expect((await readdir(disk)).filter((name) => name.endsWith(".tmp"))).toEqual([]);
    } finally {
      spawnSync("umount", [disk]);
    }
  });
}

test("the next writer removes the files of a killed process, but not those of a running one", async () => {
  const into = join(folder, "leftovers");
  await mkdir(into);
  const ended = spawn(process.execPath, ["--version"], { stdio: "ignore" });
  await new Promise((resolve) => ended.on("close", resolve));
  const sleeper = spawn("sleep", ["60"], { stdio: "ignore" });
  try {
    const dead = `${place()}-${ended.pid}`;
    const living = [sleeper.pid, process.pid].map((pid) => `.a.ckpt.${place()}-${pid}-999.tmp`);
    const others = [
      `.b.ckpt.${dead}-0.tmp`,
      `.a.ckpt.b.${dead}-0.tmp`,
      `.a.ckpt.elsewhere-${ended.pid}-0.tmp`,
      `.a.ckpt.${place()}1-${ended.pid}-0.tmp`, // another container
    ];
    const kept = [...living, ...others, `.a.ckpt.${place()}-x-0.tmp`];
    for (const name of [...kept, `.a.ckpt.${dead}-0.tmp`, `.a.ckpt.${dead}-12.tmp`]) {
      await writeFile(join(into, name), "");
    }
    await writeAtomic(join(into, "a.ckpt"), (file) => file.writeFile("whole"));
    expect((await readdir(into)).sort()).toEqual([...kept, "a.ckpt"].sort());
  } finally {
    sleeper.kill();
  }
});

test("a folder that is missing, or is a file, gives a clear error", async () => {
  const none = join(folder, "none", "a.ckpt"), within = join(script, "a.ckpt");
  await expect(writeAtomic(none, () => Promise.resolve())).rejects.toThrow(
    `${none} was not written (ENOENT): its folder does not exist; make it first`,
  );
  await expect(writeAtomic(within, () => Promise.resolve())).rejects.toThrow(
    "(ENOTDIR): its folder is a file",
  );
});
