// Only regular files are opened, and what the system refuses is said in words.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openFile, readText } from "../../../data/files/source.ts";
import { systemMessage, troubleOf } from "../../../data/files/system_errors.ts";
import { FormatError, hashFile, openCheckpoint, openTokens } from "../../../data/index.ts";
import { readTamingConfig } from "../../../train/index.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-source-"));
const at = (name: string) => join(folder, name);
const server = createServer();
afterAll(async () => {
  server.close();
  await rm(folder, { recursive: true, force: true });
});

/** Names of things that are no files, with the ending that a reader expects. */
async function pipe(ending: string): Promise<string> {
  const path = at(`pipe${ending}`);
  if (!existsSync(path)) spawnSync("mkfifo", [path]);
  return await Promise.resolve(path);
}

const readers: [name: string, ending: string, read: (path: string) => Promise<unknown>][] = [
  ["a checkpoint", ".ckpt", openCheckpoint],
  ["the hash of a file", ".ckpt", hashFile],
  ["JSON lines", ".jsonl", openTokens],
  ["tab-separated values", ".tsv", openTokens],
  ["Parquet", ".parquet", openTokens],
  ["a config of taming", ".yaml", (path) => readTamingConfig([path])],
];

describe("what is no file is refused before it is opened", () => {
  for (const [name, ending, read] of readers) {
    test(`${name}: a pipe, which would be waited for forever`, async () => {
      const path = await pipe(ending);
      if (!existsSync(path)) return; // a system without pipes that have names
      await expect(read(path)).rejects.toThrow(
        `${path}: this is a pipe and not a file; copy its contents to a file, and name that`,
      );
    });

    test(`${name}: a device, a link to one, and a folder`, async () => {
      if (!existsSync("/dev/zero")) return;
      const link = at(`zero${ending}`);
      if (!existsSync(link)) await symlink("/dev/zero", link);
      await expect(read(link)).rejects.toThrow(`${link}: this is a device and not a file`);
      const inner = at(`folder${ending}`);
      await mkdir(inner, { recursive: true });
      await expect(read(inner)).rejects.toThrow(
        /is a folder and not a file; name|this folder holds no weights/,
      );
    });

    test(`${name}: nothing, and a name that is too long`, async () => {
      await expect(read(at(`none${ending}`))).rejects.toThrow("there is no such file");
      await expect(read(at(`${"n".repeat(300)}${ending}`))).rejects.toThrow(
        "it cannot be read (ENAMETOOLONG): its name is longer than the disk allows; choose a shorter name",
      );
    });
  }

  test("a socket", async () => {
    const path = at("socket.ckpt");
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expect(openCheckpoint(path)).rejects.toThrow("this is a socket and not a file");
  });

  test("a config.json beside Flax weights that is a pipe is no config", async () => {
    const inner = at("flax");
    await mkdir(inner);
    await writeFile(join(inner, "flax_model.msgpack"), Uint8Array.of(0x81, 0xa1, 0x61, 0xc0));
    spawnSync("mkfifo", [join(inner, "config.json")]);
    const file = await openCheckpoint(inner);
    expect(file.format).toBe("flax");
    await file.close();
  });

  test("small files are read only up to their limit", async () => {
    await writeFile(at("small.txt"), "\uFEFFabc");
    expect(await readText(at("small.txt"), 6)).toBe("abc");
    await expect(readText(at("small.txt"), 5)).rejects.toThrow("it has 6 bytes, at most 5 are read");
  });
});

describe("the system's errors", () => {
  test("in words, where a call fails", async () => {
    const error = await mkdir(join(at("small.txt"), "inner")).catch((error) => error);
    expect(systemMessage(error)).toContain("(ENOTDIR): its folder is a file; choose another path");
    expect(systemMessage(new Error("other"))).toBe(null);
    await expect(openFile("a\0b")).rejects.toThrow(
      "(ERR_INVALID_ARG_VALUE): the path contains the character NUL",
    );
  });

  test("mean something else for a file that is written than for one that is read", () => {
    const error = Object.assign(new Error("ENOENT"), { code: "ENOENT" });
    expect(troubleOf(error, "reading")?.wayOut).toBe("check the path");
    expect(troubleOf(error, "writing")?.wayOut).toBe("make it first");
    expect(troubleOf(new FormatError("x", "y"), "reading")).toBe(null);
    expect(troubleOf(Object.assign(new Error(), { code: "constructor" }), "reading")).toBe(null);
  });
});
