// What a web page imports: nothing that core.ts loads needs a disk, a process or a native package, and core.ts is enough to
// load a model from bytes and to use it.
import { describe, expect, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import * as core from "../core.ts";
import * as full from "../mod.ts";
import { drawn } from "./support/numbers.ts";
import { importsOf } from "./support/imports.ts";

/** Everything that is loaded with a file, project files and packages, each with the file that imports it. */
function loadedBy(entry: string): Map<string, string> {
  const found = new Map<string, string>([[entry, ""]]);
  for (const [file] of found) { // this also visits entries that are added in the loop
    if (!file.endsWith(".ts")) continue;
    for (const to of importsOf(file, "static")) if (!found.has(to)) found.set(to, file);
  }
  return found;
}

describe("core.ts", () => {
  test("loads two small packages that run anywhere, and nothing of the disk", () => {
    const loaded = loadedBy("core.ts");
    expect(loaded.size).toBeGreaterThan(80);
    const packages = [...loaded].filter(([name]) => !name.endsWith(".ts"));
    expect(packages.map(([name]) => name).sort()).toEqual(["fflate"]);
    expect([...loaded.keys()].filter((file) => file.startsWith("data/files/"))).toEqual([]);
    // proves that the walk works: mod.ts does load modules for the disk
    const all = loadedBy("mod.ts");
    for (const name of ["node:fs/promises", "yaml", "data/files/open.ts"]) expect(all.has(name)).toBe(true);
  });

  test("neither mod.ts nor the command loads heavy packages before they are needed", () => {
    const packages = (entry: string) =>
      [...loadedBy(entry).keys()].filter((name) => !/\.(ts|json)$|^node:/.test(name)).sort();
    expect(packages("mod.ts")).toEqual(["fflate", "yaml"]);
    expect(packages("cli/program.ts")).toEqual(["commander", ...packages("mod.ts")]);
  });

  test("has no name that mod.ts lacks", () => {
    for (const [name, value] of Object.entries(core)) {
      expect([name, (full as Record<string, unknown>)[name] === value]).toEqual([name, true]);
    }
  });

  test("loads a model from bytes, a buffer, a Blob or a file that is open, with the same bits", async () => {
    const bytes = new Uint8Array(readFileSync(new URL("../models/faces.safetensors", import.meta.url)));
    const blob = new Blob([bytes]), named = new File([bytes], "faces.safetensors");
    const file = await core.readCheckpoint(core.memorySource("faces", bytes));
    const images = drawn("core", [1, 32, 32, 3]);
    let wanted: Int32Array | null = null;
    for (const source of [bytes, bytes.buffer, blob, named, file]) {
      const { model, assumed } = await core.loadVQGAN(source);
      expect([model.config.nEmbed, assumed]).toEqual([16384, []]);
      const { indices } = model.encode(images);
      const tokens = await indices.ints();
      expect(tokens.length).toBe(16);
      expect(tokens).toEqual(wanted ??= tokens);
      indices.dispose();
      model.dispose();
    }
    // a file that was open stays open
    expect((await file.tensors.get("quant_conv.bias")!.read()).length).toBe(16);
    await file.close();
    const { path, format } = await core.inspect(named);
    expect([path, format]).toEqual(["faces.safetensors", "safetensors"]);
    await expect(core.VQGAN.load(new Blob(["<html>"]))).rejects.toThrow("(Blob): this is a web page (HTML)");
    await expect(core.VQGAN.load(new Uint8Array(0))).rejects.toThrow("(bytes): the file is empty");
  });

  test("a Blob is read by range, and says when it cannot be", async () => {
    const source = core.blobSource("some.bin", new Blob([Uint8Array.of(1, 2, 3, 4, 5)]));
    const target = new Uint8Array(3);
    await source.readInto(target, 1);
    expect([...target]).toEqual([2, 3, 4]);
    await expect(source.readInto(target, 3)).rejects.toThrow("needs 3 bytes at byte 3, but the file has 5");
    const gone = { size: 5, slice: () => ({ arrayBuffer: () => Promise.reject(new Error("NotReadable")) }) };
    await expect(core.blobSource("gone.bin", gone as unknown as Blob).readInto(target, 0)).rejects.toThrow(
      /^gone\.bin: bytes from 0 on cannot be read .*NotReadable.*; choose the file again$/,
    );
  });

  test("a path is refused with what to import instead", () => {
    // in a process of its own, because this one has imported mod.ts
    const script = fileURLToPath(new URL("./support/core_path.ts", import.meta.url));
    const words = process.versions.bun ? [script] : ["run", "-A", "--no-check", script];
    const out = execFileSync(process.execPath, words, { encoding: "utf8" });
    const lines = JSON.parse(out) as string[];
    const rest =
      ': a path ("last.ckpt") needs the full package: import from "@tessera/vqgan" (mod.ts) instead ' +
      'of "@tessera/vqgan/core" (core.ts), or pass bytes or a Blob';
    expect(lines).toEqual(["VQGAN.load", "loadPerceptual", "inspect", "readImage"].map((who) => who + rest));
  });

  test("writes a model into a sink, as saveWeights writes it to the disk, and LPIPS is found among Blobs", async () => {
    const config = core.preset("faces", { ddconfig: { ch: 32 }, lossconfig: { perceptualNet: "squeeze" } });
    const model = new core.VQGAN(config, new core.Random(1), { withLoss: true }), pieces: Uint8Array[] = [];
    const sink: core.Sink = { write: (bytes) => Promise.resolve(void pieces.push(bytes.slice())) };
    await core.writeWeightsTo(sink, model, { dtype: "f16" });
    const folder = mkdtempSync(join(tmpdir(), "tessera-core-")), path = join(folder, "model.safetensors");
    await full.saveWeights(path, model, { dtype: "f16" });
    const blob = new Blob(pieces as BlobPart[]);
    expect(new Uint8Array(await blob.arrayBuffer())).toEqual(new Uint8Array(readFileSync(path)));
    rmSync(folder, { recursive: true });
    const [{ net, files }, ...others] = await core.perceptualNetworksIn([blob]);
    expect([net, others.length]).toEqual(["squeeze", 0]);
    const lpips = new core.LPIPS(net);
    await core.loadPerceptual(lpips, files);
    await expect(core.perceptualNetworksIn([new File([Uint8Array.of(1, 2)], "a.pth")])).rejects.toThrow(
      "a.pth",
    );
    for (const made of [lpips, model]) made.dispose();
  });

  test("writes checkpoints into a sink, and reads them again", async () => {
    const pieces: Uint8Array[] = [];
    const sink: core.Sink = { write: (bytes) => Promise.resolve(void pieces.push(bytes.slice())) };
    const values = new Float32Array([1, 2, 3]);
    const bias = { name: "encoder.conv_in.bias", shape: [3], dtype: "f32", data: () => values } as const;
    for (
      const write of [
        () => core.writeSafetensorsTo(sink, [bias], { note: "x" }),
        () => core.writeTorchTo(sink, new Map([["state_dict", new core.OrderedDict([[bias.name, bias]])]])),
        () => core.writeFlaxTo(sink, [bias]),
      ]
    ) {
      pieces.length = 0;
      await write();
      const file = await core.readCheckpoint(core.blobSource("written", new Blob(pieces as BlobPart[])));
      expect(await file.tensors.get(bias.name)!.read()).toEqual(values);
      await file.close();
    }
  });
});
