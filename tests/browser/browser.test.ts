// The library in a real browser: on WebGPU a small model encodes, decodes and trains in headless Chromium and gives the
// CPU's numbers, and pictures are read without sharp. Chromium computes by SwiftShader here. Skipped where there is no
// Chromium.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { encodePng, readImage } from "../../data/index.ts";
import { device } from "../../src/index.ts";
import { smoke } from "./smoke.ts";
import { browsers, chromium, visit } from "../support/chromium.ts";
import { expectNoLeak } from "../support/expectations.ts";
import { maxError } from "../support/numbers.ts";

setDefaultTimeout(240_000); // Chromium compiles a hundred shaders for a CPU that has other things to do

interface Answer {
  readonly description?: string;
  readonly results?: Record<string, number[]>;
  readonly error?: string;
}

interface Pictures {
  readonly whole?: number[][];
  readonly square?: number[];
  readonly sizes?: number[][];
  readonly messages?: string[];
  readonly error?: string;
}

const folder = mkdtempSync(join(tmpdir(), "tessera-browser-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Everything that a page imports, as files for a browser, and the index.html that loads them. */
function bundle(name: string): void {
  const page = fileURLToPath(new URL(`${name}.ts`, import.meta.url));
  const words = process.versions.bun
    ? [
      "build",
      page,
      "--target",
      "browser",
      "--splitting",
      "--format",
      "esm",
      "--outdir",
      folder,
    ]
    : ["bundle", page, "-q", "--platform", "browser", "--code-splitting", "--outdir", folder];
  execFileSync(process.execPath, words, { stdio: "ignore" });
  writeFileSync(join(folder, "index.html"), html.replaceAll("page.js", `${name}.js`));
}

const html = `<script>process = { env: { TESSERA_SOFTWARE_GPU: "1" } };
onerror = (message) => fetch("/answer", { method: "POST", body: JSON.stringify({ error: message }) });
</script><script type="module" src="page.js" onerror="onerror('page.js does not load')"></script>`;

/** Lets Chromium compute on a GPU that is the CPU. */
const gpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];

describe("in a browser", () => {
  if (!chromium) {
    test.skip(`needs one of: ${browsers.join(", ")}`, () => {});
    return;
  }
  test("a model encodes, decodes and learns as on the CPU", () =>
    expectNoLeak(async () => {
      await device("cpu");
      bundle("page");
      const { error, description, results } = await visit<Answer>(folder, { flags: gpu });
      expect(error).toBe(undefined);
      expect(description).toContain("navigator.gpu");
      const wanted = await smoke();
      expect(Object.keys(results!)).toEqual(Object.keys(wanted));
      expect(results!.tokens).toEqual(wanted.tokens);
      for (const [name, values] of Object.entries(wanted)) {
        const error = maxError(results![name], values);
        // Adam's first steps are of the learning rate whichever way a tiny gradient points
        if (!(error < (/ 1$|after/.test(name) ? 2e-3 : 2e-5))) throw new Error(`${name}: off by ${error}`);
      }
    }));

  test("pictures come from Blobs, bytes and pixels, without the disk's half of the package", async () => {
    const pixels = Uint8Array.from({ length: 16 * 24 * 3 }, (_, i) => (i * 7) % 256);
    const picture = { width: 24, height: 16, pixels };
    writeFileSync(join(folder, "picture.png"), await encodePng(picture));
    bundle("pictures");
    const { error, whole, square, sizes, messages } = await visit<Pictures>(folder);
    expect(error).toBe(undefined);
    for (const read of whole!) expect(read).toEqual([...pixels]);
    expect(square).toEqual([...(await readImage(picture, { size: 16 })).pixels]);
    expect(sizes).toEqual([[8, 8], [12, 8], [8, 8]]);
    expect(messages![0]).toContain('readImage: a path ("face.png") needs the full package');
    expect(messages![1]).toMatch(
      /^ImageError: cannot read the picture \(Blob\): the browser cannot decode it/,
    );
  });
});
