// The library in a real browser on WebGPU: a small model encodes, decodes and trains in headless Chromium, and gives the
// CPU's numbers. Chromium computes by SwiftShader here. Skipped where there is no Chromium.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { device } from "../../src/index.ts";
import { smoke } from "./smoke.ts";
import { expectNoLeak } from "../support/expectations.ts";
import { maxError } from "../support/numbers.ts";

setDefaultTimeout(240_000); // Chromium compiles a hundred shaders for a CPU that has other things to do

interface Answer {
  readonly description?: string;
  readonly results?: Record<string, number[]>;
  readonly error?: string;
}

const browsers = ["chromium", "chromium-browser", "google-chrome"];
const browser = browsers.find((name) => {
  try {
    return execFileSync(name, ["--version"], { stdio: ["ignore", "pipe", "ignore"] }).length > 0;
  } catch {
    return false;
  }
});
const folder = mkdtempSync(join(tmpdir(), "tessera-browser-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Everything that the page imports, as files for a browser. */
function bundle(): void {
  const page = fileURLToPath(new URL("page.ts", import.meta.url));
  const external = ["node:*", "webgpu", "gpu.js", "sharp"].flatMap((name) => ["--external", name]);
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
      ...external,
    ]
    : ["bundle", page, "-q", "--platform", "browser", "--code-splitting", "--outdir", folder, ...external];
  execFileSync(process.execPath, words, { stdio: "ignore" });
}

const html = `<script>process = { env: { TESSERA_SOFTWARE_GPU: "1" } };
onerror = (message) => fetch("/answer", { method: "POST", body: JSON.stringify({ error: message }) });
</script><script type="module" src="page.js" onerror="onerror('page.js does not load')"></script>`;

async function serve(
  request: IncomingMessage,
  response: ServerResponse,
  answer: (answer: Answer) => void,
): Promise<void> {
  if (request.method === "POST") {
    const parts: Uint8Array[] = [];
    for await (const part of request) parts.push(part);
    response.end();
    return answer(JSON.parse(new TextDecoder().decode(Buffer.concat(parts))));
  }
  const { pathname } = new URL(request.url!, "http://localhost");
  if (pathname === "/") return void response.setHeader("content-type", "text/html").end(html);
  const script = await readFile(join(folder, pathname)).catch(() => null);
  response.statusCode = script ? 200 : 404;
  response.setHeader("content-type", "text/javascript").end(script);
}

/** Opens the page and waits for what it sends. */
async function visit(): Promise<Answer> {
  let server: Server | undefined;
  const answered = new Promise<Answer>((resolve) => {
    server = createServer((request, response) => void serve(request, response, resolve));
  });
  await new Promise<void>((resolve) => server!.listen(0, "127.0.0.1", resolve));
  const { port } = server!.address() as AddressInfo;
  const gpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];
  const own = `--user-data-dir=${join(folder, "profile")}`;
  const child = spawn(
    browser!,
    ["--headless", "--no-sandbox", ...gpu, own, `http://127.0.0.1:${port}/`],
    { stdio: "ignore" },
  );
  const closed = new Promise<never>((_, reject) =>
    child.on("close", (code) => reject(new Error(`${browser} ended with code ${code} and no answer`)))
  );
  try {
    return await Promise.race([answered, closed]);
  } finally {
    child.kill();
    server!.closeAllConnections();
    server!.close();
    await closed.catch(() => {}); // it ends now, as it should
  }
}

describe("in a browser", () => {
  if (!browser) {
    test.skip(`needs one of: ${browsers.join(", ")}`, () => {});
    return;
  }
  test("a model encodes, decodes and learns as on the CPU", () =>
    expectNoLeak(async () => {
      await device("cpu");
      bundle();
      const { error, description, results } = await visit();
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
});
