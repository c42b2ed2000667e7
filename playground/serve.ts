// The command `deno task playground`: bundles the page and serves it on this machine. With `--build DIR` it writes a folder for
// any static host instead.
import { createReadStream, mkdtempSync, rmSync, statSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { parseArgs } from "node:util";
import { buildPlayground } from "./build.ts";

const types: Readonly<Record<string, string>> = {
  ".css": "text/css",
  ".html": "text/html; charset=utf-8",
  ".jpg": "image/jpeg",
  ".js": "text/javascript",
  ".png": "image/png",
  ".svg": "image/svg+xml",
};

/** These headers isolate the page from other origins, which gives its engine threads. */
export const isolation: Readonly<Record<string, string>> = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-resource-policy": "same-origin",
};

/** Serves the files of a folder to this machine. @param prefix the path below which they are, such as "/" or "/a/b/" */
export async function serveFolder(
  folder: string,
  port: number,
  { headers = isolation, prefix = "/" }: { headers?: Readonly<Record<string, string>>; prefix?: string } = {},
): Promise<{ readonly address: string; readonly server: Server }> {
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
    const name = path.startsWith(prefix) ? normalize(path.slice(prefix.length) || "index.html") : "..";
    const file = join(folder, name), size = name.startsWith("..") ? undefined : sizeOf(file);
    response.setHeader("x-content-type-options", "nosniff");
    response.setHeader("cache-control", "no-cache");
    for (const [header, value] of Object.entries(headers)) response.setHeader(header, value);
    if (size === undefined || !["GET", "HEAD"].includes(request.method ?? "")) {
      return void response.writeHead(404, { "content-type": "text/plain" }).end("there is no such file\n");
    }
    const type = types[extname(file)] ?? "application/octet-stream";
    response.writeHead(200, { "content-type": type, "content-length": size });
    if (request.method === "HEAD") response.end();
    else createReadStream(file).pipe(response);
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
  return { address: `http://127.0.0.1:${(server.address() as AddressInfo).port}${prefix}`, server };
}

function sizeOf(file: string): number | undefined {
  const found = statSync(file, { throwIfNoEntry: false });
  return found?.isFile() ? found.size : undefined;
}

const usage =
  `Usage: deno task playground [--port N]    serve the playground on this machine (default: port 8016)
       deno task playground --build DIR   write it into a folder that any static host serves`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { build: { type: "string" }, port: { type: "string" }, help: { type: "boolean" } },
  });
  if (values.help) return console.log(usage);
  if (values.build !== undefined) {
    buildPlayground(values.build);
    return console.log(`${values.build} holds the playground; any static host can serve it`);
  }
  const port = Number(values.port ?? 8016);
  if (!Number.isInteger(port) || port < 0 || port > 65535) {
    throw new Error(`--port ${values.port}: a port is 0 to 65535`);
  }
  const folder = mkdtempSync(join(tmpdir(), "tessera-page-"));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.on("exit", remove);
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(0));
  buildPlayground(folder);
  const { address } = await serveFolder(folder, port).catch((error) => {
    if (error.code !== "EADDRINUSE" || values.port !== undefined) throw error;
    return serveFolder(folder, 0); // the default port is taken
  });
  console.log(`The playground is at ${address}\nCtrl-C ends it.`);
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  await main().catch((error) => {
    console.error(`playground: ${error instanceof Error ? error.message : error}\n${usage}`);
    process.exit(1);
  });
}
