// Checkpoints at web addresses.
import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import type { FetchOptions } from "../../../data/index.ts";
import { checkpointBytes, hasty, hubFixture, sha256 } from "../../support/hub.ts";
import type { Fault } from "../../support/hub_server.ts";

setDefaultTimeout(60_000);

const hub = await hubFixture(), { server, home, reset, files, close } = hub;
afterAll(close);
beforeEach(reset);

const data = await checkpointBytes("web", 100_000), other = await checkpointBytes("other", 100_000);
const path = "/some/weights/last%20one.ckpt?download=1", address = server.url + path;
const serve = (data: Uint8Array, headers: Record<string, string>) =>
  server.pages.set(path, { data, headers });
const fetched = (options: FetchOptions = {}) => hub.fetched(address, options);
const hashOf = async (path: string) => sha256(new Uint8Array(await readFile(path)));
const ranges = () => server.log.map(({ range }) => range);
const kept = async () => (await files()).filter((path) => path.endsWith("last_one.ckpt"));

/** The message of the error that a fetch ends with. */
const problem = (name = address, options: FetchOptions = {}) => hub.problem(name, options);

/** Lets the next downloads go wrong, one after another. The question for the version before each goes well. */
function faults(...list: (Fault | null)[]): void {
  server.fault = ({ range }) => range === "bytes=0-0" ? null : list.shift() ?? null;
}

describe("a web address", () => {
  test("is downloaded once, and again when the server has another version", async () => {
    for (
      const version of [["etag", '"1"', '"2"'], [
        "last-modified",
        "Mon, 01 Jan 2024 00:00:00 GMT",
        "Tue, 02 Jan 2024 00:00:00 GMT",
      ]]
    ) {
      await reset();
      const [name, before, after] = version;
      serve(data, { [name]: before });
      const seen: [number, number, string][] = [];
      const first = await fetched({ onProgress: (...now) => seen.push(now) });
      expect([await hashOf(first), seen.at(-1)]).toEqual([sha256(data), [
        data.length,
        data.length,
        "download",
      ]]);
      expect((await kept()).length).toBe(1);
      server.log.length = 0;
      expect(await fetched()).toBe(first);
      expect(ranges()).toEqual(["bytes=0-0"]);
      serve(other, { [name]: after });
      expect(await hashOf(await fetched())).toBe(sha256(other));
      expect((await kept()).length).toBe(1);
    }
  });

  test("without a version is downloaded each time", async () => {
    serve(data, {});
    await fetched();
    serve(other, {});
    expect(await hashOf(await fetched())).toBe(sha256(other));
    faults({ cutAfter: 100_000 });
    serve(data, {});
    expect(await hashOf(await fetched())).toBe(sha256(data));
    expect(ranges().filter((range) => range !== "bytes=0-0" && range !== null)).toEqual([]);
  });

  test("is gone on with where it stopped, unless the file has changed", async () => {
    serve(data, { etag: '"1"' });
    faults({ cutAfter: 200_000 }, { status: 503 }, { status: 503 }, { status: 503 }, { status: 503 });
    expect(await problem()).toContain("the same command goes on from there");
    const { size } = await stat(join(home, (await files("incomplete"))[0]));
    await (server.fault = () => null, fetched());
    expect(ranges().at(-1)).toBe(`bytes=${size}-`);
    await reset();
    faults({ cutAfter: 200_000 });
    const isFirst = { now: true };
    const onProgress = (bytes: number) => {
      if (bytes > 0 && isFirst.now) serve(other, { etag: '"2"' });
      if (bytes > 0) isFirst.now = false;
    };
    expect(await problem(address, { onProgress })).toContain("HUB has another version now; try again");
    expect(await hashOf(await fetched())).toBe(sha256(other));
    expect(await files("incomplete")).toEqual([]);
  });

  test("of a server that tells no length, or sends no ranges", async () => {
    serve(data, { etag: '"1"' });
    server.fault = () => ({ noLength: true, ignoreRange: true });
    const totals = new Set<number>();
    expect(await hashOf(await fetched({ onProgress: (_, total) => totals.add(total) }))).toBe(sha256(data));
    expect(totals).toEqual(new Set([Infinity]));
    await reset();
    const list: Fault[] = [{ ignoreRange: true }, { ignoreRange: true, cutAfter: 200_000 }, {
      ignoreRange: true,
    }];
    server.fault = () => list.shift() ?? null;
    expect(await hashOf(await fetched())).toBe(sha256(data));
  });

  test("is there without the network if it was downloaded before", async () => {
    serve(data, { etag: '"1"' });
    const first = await fetched();
    for (const fault of [{ status: 500 }, { silentAfter: 0 }, { status: 403 }]) {
      server.fault = () => fault;
      const lines: string[] = [];
      expect(await fetched({ patience: hasty, notice: (line) => lines.push(line) })).toBe(first);
      expect(lines).toEqual([expect.stringMatching(/; using the copy that was downloaded before$/)]);
    }
  });

  test("that holds no checkpoint, or cannot be had, gives one clear line", async () => {
    const page = `<!doctype html><title>\x1b[31mSign in</title>${" ".repeat(200_000)}`;
    serve(new TextEncoder().encode(page), {});
    expect(await problem()).toContain("this is a web page (HTML), not a checkpoint");
    serve(new TextEncoder().encode("short"), {});
    expect(await problem()).toContain("this is neither a torch, a safetensors nor a Flax file");
    expect(await files()).toEqual([]);
    serve(data, {});
    for (
      const [status, text] of [
        [401, "the server wants a login or refuses access (401); download it in a browser and give its path"],
        [404, "there is no such file (404); check the address"],
        [429, "HUB has too many requests from here (429); try again later"],
        [503, "HUB has a problem of its own (503); try again later"],
        [300, "which was not expected; try again later"],
      ] as const
    ) {
      server.fault = () => ({ status });
      expect(await problem()).toMatch(
        new RegExp(
          `^http://HUB/some/weights/last%20one\\.ckpt\\?\\.\\.\\.: .*${text.replace(/[()]/g, "\\$&")}$`,
        ),
      );
    }
    server.fault = () => ({ status: 302, headers: { location: "/some/weights/last%20one.ckpt?download=1" } });
    expect(await problem()).toMatch(/: HUB cannot be reached \(.*redirect.*\); check the connection$/i);
    expect(await problem("http://127.0.0.1:9/last.ckpt")).toMatch(
      /: 127\.0\.0\.1:9 cannot be reached \(.+\); check the connection$/,
    );
    expect(await problem("https://nowhere.invalid/last.ckpt")).toMatch(
      /: nowhere\.invalid cannot be reached \(.+\); check the connection$/,
    );
    expect(await files()).toEqual([]);
  });
});

const disk = join(home, "disk");
const mount = `mount -t tmpfs -o size=300k tmpfs ${disk}`;
await mkdir(disk);
if (spawnSync("bash", ["-c", `${mount} && umount ${disk}`]).status !== 0) {
  console.log("hub: no small disk can be mounted here, so a full one is not tested (run as root)");
} else {
  test("a disk that is too small is noticed before the download, and a full one keeps what fits", async () => {
    await mkdir(disk);
    spawnSync("bash", ["-c", mount]);
    try {
      process.env.HF_HUB_CACHE = process.env.XDG_CACHE_HOME = disk;
      server.add("o/n", { "model.safetensors": data });
      expect(await problem("hf:o/n")).toMatch(
        /^model\.safetensors of hf:o\/n needs 400\.1 kB in HOME\/disk\/models--o--n\/blobs, where \d+\.\d kB are free; make room, or set HF_HUB_CACHE to a folder on another disk$/,
      );
      expect(server.downloads).toEqual([]);
      serve(data, { etag: '"1"' });
      server.fault = () => ({ noLength: true, ignoreRange: true });
      expect(await problem()).toMatch(
        /^HOME\/disk\/tessera\/downloads\/[0-9a-f]+\/[0-9a-f]+ was not written \(ENOSPC\): the disk is full; make room and try again, or set XDG_CACHE_HOME/,
      );
      expect(await kept()).toEqual([]);
    } finally {
      spawnSync("umount", [disk]);
    }
  });
}
