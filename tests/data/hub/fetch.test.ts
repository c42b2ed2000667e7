// Fetching checkpoints from a hub: where they lie, and what is found again.
import { afterAll, beforeEach, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, readlink, stat, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { type FetchOptions, hashFile, inspect, openCheckpoint } from "../../../data/index.ts";
import { VQGAN } from "../../../nn/index.ts";
import { checkpointBytes, hasty, hubFixture, sha256 } from "../../support/hub.ts";

setDefaultTimeout(60_000);

const { server, home, reset, files, fetched, problem, faults, ranges, close } = await hubFixture();
afterAll(close);
beforeEach(reset);

const data = await checkpointBytes("hub", 100_000), other = await checkpointBytes("other", 100_000);
const hash = sha256(data), config = JSON.stringify({ z_channels: 256 });
const { commit } = server.add("o/n", {
  "README.md": "# VQGAN",
  "config.json": config,
  "model.safetensors": data,
});
const folder = "hub/models--o--n";
const pointer = `${folder}/snapshots/${commit}/model.safetensors`;
const at = (path: string) => join(home, path);

describe("a checkpoint of the hub", () => {
  test("lies in the cache of Python's huggingface_hub, with its config.json, and is not downloaded twice", async () => {
    const lines: string[] = [], seen: [number, number, string][] = [];
    const options: FetchOptions = {
      notice: (line) => lines.push(line),
      onProgress: (...now) => seen.push(now),
    };
    expect(await fetched("hf:o/n", options)).toBe(at(pointer));
    expect(new Uint8Array(await readFile(at(pointer)))).toEqual(data);
    const [small] = (await readdir(at(`${folder}/blobs`))).filter((name) => name.length === 40);
    expect(await files()).toEqual([
      `${folder}/blobs/${hash}`,
      `${folder}/blobs/${small}`,
      `${folder}/refs/main`,
      `${folder}/snapshots/${commit}/config.json`,
      pointer,
    ].sort());
    expect(await readlink(at(pointer))).toBe(`../../blobs/${hash}`);
    expect(await readFile(at(`${folder}/refs/main`), "utf8")).toBe(commit);
    expect(seen[0]).toEqual([0, data.length, "download"]);
    expect(seen.at(-1)).toEqual([data.length, data.length, "download"]);
    expect(lines).toEqual([
      `hf:o/n is model.safetensors of commit ${commit.slice(0, 7)}, 400.1 kB to download`,
    ]);

    server.log.length = 0;
    expect(await fetched("hf:o/n", options)).toBe(at(pointer));
    expect(server.downloads).toEqual([]);
    expect(lines[1]).toBe(`hf:o/n is model.safetensors of commit ${commit.slice(0, 7)}, in the cache`);
    // a commit with a path needs nobody
    server.log.length = 0;
    expect(await fetched(`hf:o/n@${commit}/model.safetensors`)).toBe(at(pointer));
    expect(server.log).toEqual([]);
  });

  test("is taken wherever a path is", async () => {
    const model = new Uint8Array(await readFile("models/faces.safetensors"));
    server.add("o/faces", { "faces.safetensors": model });
    const stages = new Set<string>();
    const loaded = await VQGAN.load("hf:o/faces", {
      onProgress: (_bytes, _total, stage) => stages.add(stage),
    });
    expect([loaded.config.nEmbed, [...stages]]).toEqual([16384, ["download", "read"]]);
    loaded.dispose();
    const name = "hf:o/faces/faces.safetensors";
    expect((await hashFile(name)).sha256).toBe(sha256(model));
    expect((await inspect(name)).tensors).toBeGreaterThan(100);
    const file = await openCheckpoint(`${server.url}/o/faces/blob/main/faces.safetensors`);
    expect(file.format).toBe("safetensors");
    await file.close();
    expect(server.log.filter(({ isStore }) => isStore).length).toBe(1);
  });

  test("is found without the network if it was fetched before", async () => {
    await fetched("hf:o/n");
    server.log.length = 0;
    process.env.HF_HUB_OFFLINE = "1";
    for (const name of ["hf:o/n", "hf:o/n/model.safetensors", `hf:o/n@${commit}`]) {
      expect(await fetched(name)).toBe(at(pointer));
    }
    expect(server.log).toEqual([]);
    const forbidden =
      "is not in HOME/hub, and HF_HUB_OFFLINE forbids to download it; unset it, or give a path";
    for (const name of ["hf:o/n@v2", "hf:o/other", "hf:o/n/other.ckpt"]) {
      expect(await problem(name)).toBe(`${name} ${forbidden}`);
    }
    // and if the hub does not answer, or has a problem
    delete process.env.HF_HUB_OFFLINE;
    for (const fault of [{ status: 503 }, { status: 401 }, { silentAfter: 0 }]) {
      server.fault = () => fault;
      const lines: string[] = [];
      expect(await fetched("hf:o/n", { patience: hasty, notice: (line) => lines.push(line) })).toBe(
        at(pointer),
      );
      expect(lines[0]).toContain("; using the copy in the cache");
    }
    process.env.HF_ENDPOINT = "http://127.0.0.1:9"; // nobody listens there
    expect(await fetched("hf:o/n")).toBe(at(pointer));
    expect(await problem("hf:o/other")).toMatch(
      /^hf:o\/other is not in HOME\/hub, and 127\.0\.0\.1:9 cannot be reached \(.+\); check the connection$/,
    );
  });

  test("follows its branch: a new commit is fetched, and what did not change is not", async () => {
    await fetched("hf:o/n");
    const next = server.add("o/n", { "config.json": config, "model.safetensors": other });
    server.log.length = 0;
    const path = await fetched("hf:o/n");
    expect(path).toBe(at(`${folder}/snapshots/${next.commit}/model.safetensors`));
    expect(new Uint8Array(await readFile(path))).toEqual(other);
    expect(server.downloads.filter(({ path }) => path.includes("config.json"))).toEqual([]);
    expect(await fetched(`hf:o/n@${commit}/model.safetensors`)).toBe(at(pointer));
    server.add("o/n", { "README.md": "# VQGAN", "config.json": config, "model.safetensors": data });
  });

  test("is downloaded by eight at once only once", async () => {
    faults({ slow: 20 });
    const lines: string[] = [];
    const notice = (line: string) => void lines.push(line);
    const paths = await Promise.all(Array.from({ length: 8 }, () => fetched("hf:o/n", { notice })));
    expect(new Set(paths)).toEqual(new Set([at(pointer)]));
    expect(ranges()).toEqual([null]);
    expect(lines.filter((line) => line.includes("another process")).length).toBeGreaterThan(0);
    expect(sha256(await readFile(at(pointer)))).toBe(hash);
  });

  test("lies in the snapshot itself where links cannot be made", async () => {
    process.env.HF_HUB_DISABLE_SYMLINKS = "1";
    expect(await fetched("hf:o/n")).toBe(at(pointer));
    expect(await readdir(at(`${folder}/blobs`))).toEqual([]);
    expect((await stat(at(pointer))).size).toBe(data.length);
    await Promise.all([fetched("hf:o/n"), fetched("hf:o/n")]);
    expect(ranges()).toEqual([null]);
    // content that a link of another commit leads to is copied
    await reset();
    const { commit: second } = server.add("o/n", { "model.safetensors": data, "more.txt": "x" });
    await fetched("hf:o/n");
    process.env.HF_HUB_DISABLE_SYMLINKS = "1";
    await fetched(`hf:o/n@${commit}`).catch(() => {}); // that commit is gone from the server
    server.add("o/n", { "README.md": "# VQGAN", "config.json": config, "model.safetensors": data });
    await fetched("hf:o/n");
    for (const each of [commit, second]) {
      expect(sha256(await readFile(at(`${folder}/snapshots/${each}/model.safetensors`)))).toBe(hash);
    }
    expect(ranges()).toEqual([null]);
    expect(await files("incomplete")).toEqual([]);
  });

  test("is fetched again if its link leads nowhere or to something cut off", async () => {
    for (
      const make of [() => symlink("../../blobs/gone", at(pointer)), () => writeFile(at(pointer), "cut off")]
    ) {
      await reset();
      await mkdir(dirname(at(pointer)), { recursive: true });
      await make();
      await fetched("hf:o/n");
      expect(sha256(await readFile(at(pointer)))).toBe(hash);
    }
  });
});
