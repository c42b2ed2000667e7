// Serves the page of a run on this machine: the page, its data, and the sheets of pictures. It reads the run's folder and never
// writes there, so the run may go on in another process.
import { createReadStream } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { renderPage, ReportReader, type Sheet } from "../../train/index.ts";

/** Only this machine can ask. */
const host = "127.0.0.1";

/** A page that is served. */
export interface WatchServer {
  /** The address of the page. */
  readonly address: string;
  /** Ends the server. */
  close(): Promise<void>;
}

/**
 * Serves the page of a run until `close`.
 * @param port 0 for any free one
 * @throws if the port cannot be used
 */
export async function serveRun(folder: string, port: number): Promise<WatchServer> {
  const reader = new ReportReader(folder), seen = new Versions();
  const address = (sheet: Sheet) => `images/${sheet.file}?${sheet.version}`;
  const server = createServer((request, response) => {
    answer(request, response, async (path, query) => {
      if (path === "/") {
        const page = await renderPage(await reader.read(address), true);
        return send(response, 200, "text/html; charset=utf-8", page);
      }
      if (path === "/data.json") {
        const report = await reader.read(address), version = seen.of({ ...report, time: "", secondsLeft: 0 });
        if (query.get("version") === version) return send(response, 204);
        return send(response, 200, "application/json", JSON.stringify({ report, version }));
      }
      const [, name] = /^\/images\/((?:step|worst)-\d{6,15}\.png)$/.exec(path) ?? [];
      if (name === undefined) return send(response, 404, "text/plain", "there is no such page\n");
      const file = createReadStream(join(reader.folder, "images", name));
      file.on("error", () => send(response, 404, "text/plain", "there is no such picture\n"));
      file.on("open", () => {
        response.writeHead(200, { "content-type": "image/png", "cache-control": "max-age=86400, immutable" });
        file.pipe(response);
      });
    });
  });
  await listening(server, port);
  return {
    address: `http://${host}:${(server.address() as AddressInfo).port}/`,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** Numbers the versions of what the page shows. */
class Versions {
  #last = "";
  #number = Date.now();

  of(value: unknown): string {
    const text = JSON.stringify(value);
    if (text !== this.#last) this.#number++;
    this.#last = text;
    return String(this.#number);
  }
}

/** Answers one request, if it may be answered. */
function answer(
  request: IncomingMessage,
  response: ServerResponse,
  find: (path: string, query: URLSearchParams) => Promise<void>,
): void {
  const { method, url = "/", headers } = request, name = headers.host?.replace(/:\d+$/, "");
  response.setHeader("x-content-type-options", "nosniff");
  // a page elsewhere could give its own name this machine's address, and read the run
  if (name !== host && name !== "localhost") return send(response, 403, "text/plain", "unknown host\n");
  if (method !== "GET") return send(response, 405, "text/plain", "only GET\n");
  const [path, query] = url.split("?", 2);
  find(path, new URLSearchParams(query)).catch((error) => {
    send(response, 500, "text/plain", `${error instanceof Error ? error.message : error}\n`);
  });
}

function send(response: ServerResponse, status: number, type = "text/plain", body = ""): void {
  if (response.headersSent) return void response.end();
  response.writeHead(status, { "content-type": type, "cache-control": "no-store" });
  response.end(body);
}

function listening(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => {
      server.off("error", reject);
      resolve();
    });
  });
}
