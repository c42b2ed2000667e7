// A registry on this machine that stands in for JSR and npm, for Tessera's own package: `deno publish` puts it in as it
// would at jsr.io, a tarball of `npm pack` is put in by hand, and Deno, Bun and npm get both out. All that the package
// depends on comes from npm itself.
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { tarMembers } from "../../data/files/tar.ts";
import { memorySource, readRange } from "../../data/formats/source.ts";

/** What is served at a path. */
type Pages = Map<string, Uint8Array | string>;

export interface Registry {
  /** http://127.0.0.1:port/ */
  readonly url: string;
  /** The paths of JSR's files, such as mod.ts, with their sizes. */
  readonly published: ReadonlyMap<string, number>;
  /** Lets npm's clients find the package in this tarball. @returns its files with their sizes */
  addTarball(tarball: Uint8Array): Promise<ReadonlyMap<string, number>>;
  close(): void;
}

export async function openRegistry(): Promise<Registry> {
  const pages: Pages = new Map(), published = new Map<string, number>();
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.writeHead(500).end(String(error)));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { pathname } = new URL(request.url!, url);
    if (request.method === "POST") {
      const parts: Uint8Array[] = [];
      for await (const part of request) parts.push(part);
      const [, scope, name, version] = /scopes\/(.+)\/packages\/(.+)\/versions\/(.+)$/.exec(pathname)!;
      const files = await unpacked(Buffer.concat(parts));
      for (const [path, bytes] of files) published.set(path, bytes.length);
      addToJsr(pages, `/@${scope}/${name}`, version, files);
      return void response.end(JSON.stringify({ id: "1", status: "success", error: null }));
    }
    // JSR's interface for publishers: whatever scope and package they ask for is there, and what they sent is processed
    if (pathname.startsWith("/api/") && !pathname.includes("/versions/")) {
      return void response.end(JSON.stringify({ id: "1", status: "success", error: null }));
    }
    const page = pages.get(decodeURIComponent(pathname));
    const type = /\.[mc]?ts$/.test(pathname) ? "text/typescript" : "application/json";
    response.writeHead(page === undefined ? 404 : 200, { "content-type": type }).end(page);
  }

  return {
    url,
    published,
    addTarball: (tarball) => addToNpm(pages, url, tarball),
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** https://jsr.io/docs/api#package-version-metadata */
function addToJsr(pages: Pages, at: string, version: string, files: ReadonlyMap<string, Uint8Array>): void {
  const { exports } = JSON.parse(text(files.get("deno.json")!)) as { exports: object };
  const manifest: Record<string, object> = {};
  for (const [path, bytes] of files) {
    const checksum = `sha256-${createHash("sha256").update(bytes).digest("hex")}`;
    manifest[`/${path}`] = { size: bytes.length, checksum };
    pages.set(`${at}/${version}/${path}`, bytes);
  }
  pages.set(`${at}/meta.json`, JSON.stringify({ latest: version, versions: { [version]: {} } }));
  pages.set(`${at}/${version}_meta.json`, JSON.stringify({ manifest, exports }));
}

/** https://github.com/npm/registry/blob/main/docs/responses/package-metadata.md */
async function addToNpm(pages: Pages, url: string, tarball: Uint8Array): Promise<Map<string, number>> {
  const files = await unpacked(tarball);
  const settings = JSON.parse(text(files.get("package/package.json")!)) as { name: string; version: string };
  const { name, version } = settings, path = `/${name}/-/${version}.tgz`;
  const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
  const dist = { tarball: new URL(path, url).href, integrity };
  const versions = { [version]: { ...settings, dist } };
  pages.set(path, tarball);
  pages.set(`/${name}`, JSON.stringify({ name, "dist-tags": { latest: version }, versions }));
  return new Map([...files].map(([name, bytes]) => [name.slice("package/".length), bytes.length]));
}

/** The files of a .tar.gz. */
async function unpacked(tarball: Uint8Array): Promise<Map<string, Uint8Array>> {
  const source = memorySource("(tarball)", new Uint8Array(gunzipSync(tarball)));
  const files = new Map<string, Uint8Array>();
  for await (const { name, offset, size } of tarMembers(source)) {
    files.set(name, await readRange(source, offset, size, "a file"));
  }
  return files;
}

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes);
