// Downloads from a hub that are interrupted: by the connection, by a kill, by the caller. They go on, and nothing half-written
// is taken for whole.
import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readFile, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { checkpointBytes, hasty, hubFixture, sha256 } from "../../support/hub.ts";

setDefaultTimeout(60_000);

const { server, home, reset, files, fetched, problem, faults, ranges, close } = await hubFixture();
afterAll(close);
beforeEach(reset);

const data = await checkpointBytes("hub", 100_000), hash = sha256(data);
const config = JSON.stringify({ z_channels: 256 });
const { commit } = server.add("o/n", { "config.json": config, "model.safetensors": data });
const folder = "hub/models--o--n", blob = `${folder}/blobs/${hash}`;
const pointer = `${folder}/snapshots/${commit}/model.safetensors`;
const at = (path: string) => join(home, path);

describe("a connection that breaks", () => {
  test("is made again, and the server is asked for the rest", async () => {
    faults({ cutAfter: 100_000 }, { cutAfter: 0 }, { cutAfter: 200_000 });
    expect(sha256(await readFile(await fetched("hf:o/n")))).toBe(hash);
    const asked = ranges();
    expect(asked.length).toBe(4);
    expect([asked[0], asked[3]]).toEqual([null, expect.stringMatching(/^bytes=\d+-$/)]);
    expect(await files("incomplete")).toEqual([]);
  });

  test("again and again is an error, after which the same call goes on", async () => {
    faults({ cutAfter: 100_000 }, ...Array(9).fill({ cutAfter: 0 }));
    expect(await problem("hf:o/n")).toMatch(
      /^model\.safetensors of hf:o\/n: the download stopped at \d+\.\d kB of 400\.1 kB: .+; the same command goes on from there$/,
    );
    const [left] = await files("incomplete"), { size } = await stat(at(left));
    expect(size).toBeGreaterThan(60_000);
    expect((await files()).filter((path) => path.includes("snapshots") || path.includes("refs"))).toEqual([
      `${folder}/snapshots/${commit}/config.json`,
    ]);
    server.log.length = 0;
    server.fault = () => null;
    const seen: number[] = [];
    await fetched("hf:o/n", { onProgress: (bytes) => seen.push(bytes) });
    expect([ranges(), seen[0]]).toEqual([[`bytes=${size}-`], size]);
    expect(sha256(await readFile(at(pointer)))).toBe(hash);
    expect(await files("incomplete")).toEqual([]);
  });

  test("with a server that is silent, or sends no ranges", async () => {
    faults({ silentAfter: 100_000 }, { ignoreRange: true });
    expect(sha256(await readFile(await fetched("hf:o/n", { patience: hasty })))).toBe(hash);
    await reset();
    faults(...Array(9).fill({ silentAfter: 0 }));
    expect(await problem("hf:o/n", { patience: hasty })).toContain("(no answer for 1 s)");
  });

  test("with a length that is not told", async () => {
    faults({ noLength: true, cutAfter: 100_000 }, { noLength: true });
    expect(sha256(await readFile(await fetched("hf:o/n")))).toBe(hash);
  });
});

describe("what was left by an earlier download", () => {
  /** Puts a part where a process that was killed leaves it. */
  async function leave(bytes: Uint8Array, holder = "elsewhere-1-0"): Promise<string> {
    await mkdir(dirname(at(blob)), { recursive: true });
    const path = at(`${blob}.tessera-${holder}.incomplete`);
    await writeFile(path, bytes);
    return path;
  }

  test("is gone on with, the longest part", async () => {
    await leave(data.slice(0, 5000), "a-1-0");
    await leave(data.slice(0, 90_000), "b-1-0");
    await fetched("hf:o/n");
    expect(ranges()).toEqual(["bytes=90000-"]);
    expect(await files("incomplete")).toEqual([]);
    // also if only the last step is missing
    await reset();
    await leave(data);
    await fetched("hf:o/n");
    expect(ranges()).toEqual([]);
    expect(sha256(await readFile(at(pointer)))).toBe(hash);
  });

  test("and is damaged is fetched anew", async () => {
    for (
      const bytes of [new Uint8Array(90_000), new Uint8Array(data.length), new Uint8Array(data.length + 1)]
    ) {
      await reset();
      await leave(bytes);
      expect(sha256(await readFile(await fetched("hf:o/n")))).toBe(hash);
      expect(await files("incomplete")).toEqual([]);
    }
  });

  test("by Python is left alone", async () => {
    const path = at(`${blob}.0123abcd.incomplete`);
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, new Uint8Array(10));
    await fetched("hf:o/n");
    expect([ranges(), (await stat(path)).size]).toEqual([[null], 10]);
  });

  test("does not include the lock of a process that is gone", async () => {
    const lock = at(`hub/.locks/models--o--n/${hash}.tessera.lock`);
    await mkdir(dirname(lock), { recursive: true });
    await writeFile(lock, "another-machine-1-0");
    await utimes(lock, new Date(0), new Date(0));
    await fetched("hf:o/n");
    expect((await files()).filter((path) => path.includes("lock"))).toEqual([]);
    // a lock with signs of life is waited for, until the caller has enough
    await reset();
    await mkdir(dirname(lock), { recursive: true });
    await writeFile(lock, "another-machine-1-0");
    const lines: string[] = [], controller = new AbortController();
    const notice = (line: string) => {
      lines.push(line);
      if (line.includes("waiting")) controller.abort(new Error("enough"));
    };
    expect(await problem("hf:o/n", { notice, signal: controller.signal })).toBe("enough");
    expect(lines.at(-1)).toBe("another process is downloading this file; waiting for it");
  });
});

describe("a caller who stops", () => {
  test("is heard at once, and the part stays", async () => {
    faults({ slow: 50 });
    const controller = new AbortController();
    let stopped = 0;
    const onProgress = (bytes: number) => {
      if (bytes < 100_000 || stopped > 0) return;
      stopped = performance.now();
      controller.abort();
    };
    await expect(fetched("hf:o/n", { signal: controller.signal, onProgress })).rejects.toThrow(/abort/i);
    expect(performance.now() - stopped).toBeLessThan(10_000);
    expect((await stat(at((await files("incomplete"))[0]))).size).toBeGreaterThan(90_000);
    // and also while the server is silent
    await reset();
    server.fault = () => ({ silentAfter: 0 });
    const signal = AbortSignal.timeout(50), start = performance.now();
    await expect(fetched("hf:o/n", { signal })).rejects.toThrow(
      /time/i,
    );
    expect(performance.now() - start).toBeLessThan(10_000);
    await expect(fetched("hf:o/n", { signal })).rejects.toThrow(/time/i);
  });
});
