// examples/vqgan.ts, a whole VQGAN in one file: a few of its steps, in a process of its own. Its numbers after all 1,200 steps
// stand in its first lines.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { readImage } from "../../mod.ts";
import { root } from "../support/imports.ts";

setDefaultTimeout(120_000); // several seconds on a free machine

const path = join(root, "examples", "vqgan.ts"), folder = mkdtempSync(join(tmpdir(), "tessera-vqgan-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("examples/vqgan.ts", () => {
  test("is one file of at most 250 lines that imports nothing of Tessera but mod.ts", () => {
    const lines = readFileSync(path, "utf8").trimEnd().split("\n");
    expect(lines.length).toBeLessThan(251);
    const imported = lines.filter((line) => line.startsWith("import")).map((line) => line.split('"')[1]);
    expect([...new Set(imported)].sort()).toEqual(["../mod.ts", "node:process"]);
  });

  test("learns in both stages and leaves a picture", async () => {
    const words = "Deno" in globalThis ? ["run", "-A", path, "20"] : [path, "20"];
    const output = execFileSync(process.execPath, words, { cwd: folder, encoding: "utf8" });
    const lines = output.trim().split("\n");
    expect(lines.map((line) => line.split(":")[0])).toEqual(["step 12", "step 20", "vqgan.png"]);
    const [alone, judged] = lines.map((line) => Number(/l1 ([\d.]+)/.exec(line)?.[1]));
    expect(alone).toBeLessThan(0.7); // untrained, it is about 0.7
    expect(judged).toBeLessThan(alone);
    expect(lines[0]).not.toContain("discriminator");
    expect(lines[1]).toMatch(/weight \d\.\d+, discriminator \d\.\d+$/);
    const picture = await readImage(join(folder, "vqgan.png"));
    expect([picture.width, picture.height]).toEqual([6 * 66 + 2, 4 * 66 + 2]);
  });
});
