// Against Python's huggingface_hub (hub.py): the hub in miniature of the tests is one for it too, and each side finds what the
// other downloaded, with links and without.
import { afterAll, beforeEach, expect, setDefaultTimeout, test } from "bun:test";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { fetchCheckpoint } from "../../data/index.ts";
import { checkpointBytes, hubFixture, sha256 } from "../support/hub.ts";
import { describePython, testDeadline } from "./python.ts";

setDefaultTimeout(testDeadline);

const { server, home, reset, files, close } = await hubFixture();
afterAll(close);
beforeEach(reset);

const data = await checkpointBytes("hub", 100_000), config = '{ "z_channels": 256 }';
const { commit } = server.add("o/n", {
  "README.md": "# VQGAN",
  "config.json": config,
  "vq/model.safetensors": data,
});
server.add("o/flat", { "config.json": config, "model.safetensors": data });
const names = ["config.json", "vq/model.safetensors"] as const;
const pathOf = (file: string) => join(home, "hub/models--o--n/snapshots", commit, file);
const hashOf = async (path: string) => sha256(new Uint8Array(await readFile(path)));

describePython("hub.py", ["huggingface-hub"], (_job, start) => {
  for (const links of [true, false]) {
    const how = links ? "links" : "no links";
    const prepare = () => {
      if (!links) process.env.HF_HUB_DISABLE_SYMLINKS = "1";
    };

    test(`it finds what Tessera downloaded, with ${how}`, async () => {
      prepare();
      await fetchCheckpoint("hf:o/n");
      const before = await files();
      server.log.length = 0;
      expect(await start<string[]>("find", "o/n", "vq/model.safetensors", "README.md")).toEqual([
        pathOf("vq/model.safetensors"),
        "LocalEntryNotFoundError",
      ]);
      expect(server.downloads).toEqual([]);
      // with the network it finds that nothing has changed
      expect(await start<string[]>("fetch", "o/n", "vq/model.safetensors")).toEqual([
        pathOf("vq/model.safetensors"),
      ]);
      expect(server.log.filter(({ isStore }) => isStore)).toEqual([]);
      expect(await files()).toEqual(before);
      const { problems, incomplete, repositories } = await start<{
        problems: string[];
        incomplete: number;
        repositories: Record<string, Record<string, { refs: string[]; files: Record<string, number> }>>;
      }>("scan");
      expect([problems, incomplete]).toEqual([[], 0]);
      expect(repositories["o/n"][commit]).toEqual({
        refs: ["main"],
        files: { "model.safetensors": data.length },
      });
    });

    test(`Tessera finds what it downloaded, with ${how}`, async () => {
      prepare();
      expect(await start<string[]>("fetch", "o/n", ...names)).toEqual(names.map(pathOf));
      server.log.length = 0;
      expect(await fetchCheckpoint("hf:o/n")).toBe(pathOf("vq/model.safetensors"));
      expect(server.downloads).toEqual([]);
      process.env.HF_HUB_OFFLINE = "1";
      expect(await fetchCheckpoint("hf:o/n")).toBe(pathOf("vq/model.safetensors"));
      expect(await hashOf(pathOf("vq/model.safetensors"))).toBe(sha256(data));
    });
  }

  test("both at once do no harm, and an interrupted download of one leaves the other alone", async () => {
    server.fault = ({ isStore }) => isStore ? { slow: 100 } : null;
    const [ours, theirs] = await Promise.all([
      fetchCheckpoint("hf:o/flat"),
      start<string[]>("fetch", "o/flat", "model.safetensors"),
    ]);
    expect([ours]).toEqual(theirs);
    expect(await hashOf(ours)).toBe(sha256(data));
    expect((await files()).filter((path) => path.includes("incomplete"))).toEqual([]);

    await reset();
    server.fault = ({ isStore }) => isStore ? { status: 404 } : null;
    await expect(fetchCheckpoint("hf:o/n")).rejects.toThrow();
    server.fault = () => null;
    expect(await start<string[]>("fetch", "o/n", "vq/model.safetensors")).toEqual([
      pathOf("vq/model.safetensors"),
    ]);
    expect(await fetchCheckpoint("hf:o/n")).toBe(pathOf("vq/model.safetensors"));
  });

  test("both take the token from the same file, and keep it from the server of large files", async () => {
    server.add("o/gated", { "model.safetensors": data }).token = "hf_right";
    await writeFile(join(home, "token"), "hf_right");
    const theirs = await start<string[]>("fetch", "o/gated", "model.safetensors");
    expect(await fetchCheckpoint("hf:o/gated")).toBe(theirs[0]);
    const sent = server.log.filter(({ path }) => path.includes("gated")).map(({ token }) => token);
    expect(new Set(sent)).toEqual(new Set(["hf_right"]));
    expect(server.log.filter(({ isStore }) => isStore).map(({ token }) => token)).toEqual([null]);
  });
});
