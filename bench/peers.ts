// Compares Tessera on WebGPU with onnxruntime-web, jax-js and TensorFlow.js, in one page of one browser, with each job on all
// sides in turn. The other libraries are installed into a folder of their own, outside this project. It runs in headless
// Chromium. To measure your own GPU, open the address that --serve prints in a browser that can use it.
//   deno run -A bench/peers.ts [--serve] [--rounds n] [--most flops] [--only text]
import { execFileSync, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const peers = [
  "onnxruntime-web@1.30.0",
  "@jax-js/jax@0.1.25",
  "@tensorflow/tfjs@4.22.0",
  "@tensorflow/tfjs-backend-webgpu@4.22.0",
];
const { values: flags } = parseArgs({
  options: {
    serve: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    most: { type: "string", default: "" },
    only: { type: "string", default: "" },
  },
});
const folder = join(tmpdir(), "tessera-peers"), built = join(folder, "page");
mkdirSync(built, { recursive: true });
await writeFile(join(folder, "package.json"), "{}");
console.log(`installing ${peers.join(", ")} into ${folder}`);
execFileSync("npm", ["install", "--ignore-scripts", "--no-audit", "--no-fund", "--silent", ...peers], {
  cwd: folder,
});

const page = fileURLToPath(new URL("peers/page.ts", import.meta.url));
const external = ["node:*", "webgpu", "gpu.js", "sharp"].flatMap((name) => ["--external", name]);
execFileSync(
  process.execPath,
  process.versions.bun
    ? ["build", page, "--target", "browser", "--splitting", "--format", "esm", "--outdir", built, ...external]
    : ["bundle", page, "-q", "--platform", "browser", "--code-splitting", "--outdir", built, ...external],
  { stdio: "ignore" },
);

const html = `<!doctype html><title>Tessera and its peers</title>
<script>process = { env: { TESSERA_SOFTWARE_GPU: "1" } };</script>
<script src="/node_modules/@tensorflow/tfjs/dist/tf.min.js"></script>
<script src="/node_modules/@tensorflow/tfjs-backend-webgpu/dist/tf-backend-webgpu.min.js"></script>
<script type="module" src="/page/page.js"></script>The times are in the terminal.`;
const types: Record<string, string> = {
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".wasm": "application/wasm",
};

interface Answer {
  readonly description?: string;
  readonly problem?: string;
  readonly job?: string;
  readonly flops?: number;
  readonly times?: Record<string, number[]>;
  readonly done?: boolean;
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1];
const names = ["Tessera", "onnxruntime-web", "jax-js", "tfjs"];

function show({ description, problem, job, flops, times }: Answer): void {
  if (problem) console.error(problem);
  if (description) {
    console.log(
      `${description}\n\nms, medians of ${flags.rounds}; last column: the best peer's time over Tessera's\n`,
    );
    console.log(
      `| | ${names.join(" | ")} | GFLOP/s | times as fast |\n|---|${"---:|".repeat(names.length + 2)}`,
    );
  }
  if (!times || !flops) return;
  const medians = names.map((name) => times[name] ? median(times[name]) : null);
  const [own, ...others] = medians, best = Math.min(...others.map((ms) => ms ?? Infinity));
  const cells = medians.map((ms) => ms === null ? "" : ms.toPrecision(3));
  const rate = own === null ? "" : (flops / own / 1e6).toPrecision(3);
  console.log(`| ${job} | ${cells.join(" | ")} | ${rate} | ${own === null ? "" : (best / own).toFixed(2)} |`);
}

async function serve(request: IncomingMessage, response: ServerResponse, done: () => void): Promise<void> {
  if (request.method === "POST") {
    const parts: Uint8Array[] = [];
    for await (const part of request) parts.push(part);
    response.end();
    const answer = JSON.parse(new TextDecoder().decode(Buffer.concat(parts))) as Answer;
    show(answer);
    if (answer.done) done();
    return;
  }
  const { pathname } = new URL(request.url!, "http://localhost");
  response.setHeader("cross-origin-opener-policy", "same-origin").setHeader(
    "cross-origin-embedder-policy",
    "require-corp",
  );
  if (pathname === "/") return void response.setHeader("content-type", "text/html").end(html);
  const file = await readFile(join(folder, normalize(pathname))).catch(() => null);
  response.statusCode = file ? 200 : 404;
  response.setHeader("content-type", types[extname(pathname)] ?? "text/plain").end(file);
}

const most = flags.most || (flags.serve ? "" : "4e8"); // multiplications that a software GPU does in about a second
const done = Promise.withResolvers<void>();
const server = createServer((request, response) => void serve(request, response, done.resolve));
await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
const query = new URLSearchParams({ rounds: flags.rounds, only: flags.only, ...(most ? { most } : {}) });
const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/?${query}`;
if (flags.serve) {
  console.log(`open ${address} in a browser with WebGPU`);
  await done.promise;
} else {
  const profile = mkdtempSync(join(tmpdir(), "tessera-profile-"));
  const gpu = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];
  const quiet = [
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
  ];
  const words = ["--headless", "--no-sandbox", ...gpu, ...quiet, `--user-data-dir=${profile}`, address];
  const browser = spawn("chromium", words, { stdio: "ignore" });
  const ended = new Promise<never>((_, reject) =>
    browser.on("close", (code) => reject(new Error(`chromium ended with code ${code} before the last job`)))
  );
  try {
    await Promise.race([done.promise, ended]);
  } finally {
    browser.kill();
  }
}
server.closeAllConnections();
server.close();
process.exit(0);
