// Opens pages in headless Chromium, and waits for what they send.
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { extname, join } from "node:path";

export const browsers: readonly string[] = ["chromium", "chromium-browser", "google-chrome"];

/** The command that starts the browser; undefined if there is none. */
export const chromium: string | undefined = browsers.find((name) => {
  try {
    return execFileSync(name, ["--version"], { stdio: ["ignore", "pipe", "ignore"] }).length > 0;
  } catch {
    return false;
  }
});

const types: Readonly<Record<string, string>> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".ts": "text/javascript",
};

/**
 * Serves a folder, opens its index.html, and returns what the page posts to /answer as JSON.
 * @param headers the headers of every response of the server
 * @param flags the flags for Chromium
 */
export async function visit<T>(
  folder: string,
  { headers = {}, flags = [] }: { headers?: Readonly<Record<string, string>>; flags?: readonly string[] } =
    {},
): Promise<T> {
  const profile = mkdtempSync(join(tmpdir(), "tessera-profile-"));
  const { promise: answered, resolve: answer } = Promise.withResolvers<T>();
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    if (request.method === "POST") {
      const parts: Uint8Array[] = [];
      for await (const part of request) parts.push(part);
      response.end();
      return answer(JSON.parse(new TextDecoder().decode(Buffer.concat(parts))) as T);
    }
    const { pathname } = new URL(request.url!, "http://localhost");
    const path = join(folder, pathname === "/" ? "index.html" : pathname);
    const bytes = await readFile(path).catch(() => null);
    response.statusCode = bytes ? 200 : 404;
    response.setHeader("content-type", types[extname(path)] ?? "application/octet-stream").end(bytes);
  };
  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const child = spawn(
    chromium!,
    ["--headless", "--no-sandbox", `--user-data-dir=${profile}`, ...flags, `http://127.0.0.1:${port}/`],
    { stdio: "ignore" },
  );
  const closed = new Promise<never>((_, reject) =>
    child.on("close", (code) => reject(new Error(`${chromium} ended with code ${code} and no answer`)))
  );
  try {
    return await Promise.race([answered, closed]);
  } finally {
    child.kill();
    server.closeAllConnections();
    server.close();
    await closed.catch(() => {}); // it was told to end
    await remove(profile);
  }
}

/** Deletes a folder in which Chromium's other processes may still be writing, because they end after the first one. */
async function remove(folder: string): Promise<void> {
  for (let tries = 1;; tries++) {
    try {
      return rmSync(folder, { recursive: true, force: true });
    } catch (error) {
      if (tries === 50) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}
