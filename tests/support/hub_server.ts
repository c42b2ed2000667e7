// A Hugging Face hub in miniature, for tests: @huggingface/hub and Python's huggingface_hub list and fetch files from it. As on
// the hub, large files lie on another server, to which it redirects. It misbehaves on request.
import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** What the server has of one repository. */
export interface ServedRepository {
  /** The commit of `main`, 40 hexadecimal digits. */
  commit: string;
  readonly files: Map<string, Uint8Array>;
  /** The token without which it is refused, as repositories are whose conditions must be accepted. */
  token?: string;
}

/** How an answer goes wrong. */
export interface Fault {
  /** Answers with this status. */
  readonly status?: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | Uint8Array;
  /** Closes the connection after so many bytes of the body. */
  readonly cutAfter?: number;
  /** Sends other bytes of the same length. */
  readonly spoil?: boolean;
  /** Sends the whole file, whatever range was asked for. */
  readonly ignoreRange?: boolean;
  /** Sends nothing more after so many bytes. */
  readonly silentAfter?: number;
  /** Sends a block of 64 KiB each so many milliseconds. */
  readonly slow?: number;
  /** Does not tell the length. */
  readonly noLength?: boolean;
}

/** A request, as the log keeps it. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly range: string | null;
  readonly token: string | null;
  /** Whether it went to the server of large files. */
  readonly isStore: boolean;
}

/** Files of more bytes lie on the other server, under their SHA-256. */
const largeFrom = 1024;

const hashes = new WeakMap<Uint8Array, string>();
function sha256(data: Uint8Array): string {
  const hash = hashes.get(data) ?? createHash("sha256").update(data).digest("hex");
  hashes.set(data, hash);
  return hash;
}
const gitHash = (data: Uint8Array): string =>
  createHash("sha1").update(`blob ${data.length}\0`).update(data).digest("hex");

export class HubServer {
  /** The repositories by their names. */
  readonly repositories = new Map<string, ServedRepository>();
  /** Files at plain addresses: `url` + path. */
  readonly pages = new Map<string, { readonly data: Uint8Array; readonly headers: Record<string, string> }>();
  readonly log: Asked[] = [];
  /** Says how an answer goes wrong. */
  fault: (asked: Asked) => Fault | null = () => null;

  readonly #hub: Server;
  readonly #store: Server;

  private constructor() {
    this.#hub = createServer((request, response) => this.#answer(request, response, false));
    this.#store = createServer((request, response) => this.#answer(request, response, true));
  }

  /** Starts a server, which the caller must close. */
  static async open(): Promise<HubServer> {
    const server = new HubServer();
    for (const each of [server.#hub, server.#store]) {
      await new Promise<void>((resolve) => each.listen(0, "127.0.0.1", resolve));
    }
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#hub.address() as AddressInfo).port}`;
  }

  /** Adds a repository, whose commit follows from its files. */
  add(name: string, files: Readonly<Record<string, Uint8Array | string>>): ServedRepository {
    const bytes = Object.entries(files).map(([path, data]) => {
      return [path, typeof data === "string" ? new TextEncoder().encode(data) : data] as const;
    });
    const hash = createHash("sha1");
    for (const [path, data] of bytes) hash.update(path).update(data);
    const repository = { commit: hash.digest("hex"), files: new Map(bytes) };
    this.repositories.set(name, repository);
    return repository;
  }

  /** The requests for the content of files. */
  get downloads(): Asked[] {
    return this.log.filter(({ isStore, path }) => isStore || path.includes("/resolve/"));
  }

  async close(): Promise<void> {
    for (const server of [this.#hub, this.#store]) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    }
  }

  #answer(request: IncomingMessage, response: ServerResponse, isStore: boolean): void {
    response.setHeader("access-control-allow-origin", "*"); // the hub lets pages read it
    response.setHeader("access-control-expose-headers", "x-error-code, content-length");
    const chunks: Uint8Array[] = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const asked: Asked = {
        method: request.method!,
        path: request.url!,
        range: request.headers.range ?? null,
        token: request.headers.authorization?.replace("Bearer ", "") ?? null,
        isStore,
      };
      this.log.push(asked);
      const fault = this.fault(asked) ?? {};
      if (fault.silentAfter === 0) return;
      if (fault.status !== undefined) {
        response.writeHead(fault.status, fault.headers);
        response.end(request.method === "HEAD" ? undefined : fault.body);
        return;
      }
      const reply = new Reply(request, response, fault);
      const page = this.pages.get(asked.path);
      if (page) return reply.file(page.data, page.headers);
      if (isStore) return this.#large(asked.path, reply);
      this.#route(asked, Buffer.concat(chunks).toString(), reply);
    });
  }

  #large(path: string, reply: Reply): void {
    for (const { files } of this.repositories.values()) {
      for (const data of files.values()) {
        if (path === `/${sha256(data)}`) return reply.file(data, { etag: `"${sha256(data)}"` });
      }
    }
    reply.error(404, "EntryNotFound", "no such file");
  }

  #route({ path, token }: Asked, body: string, reply: Reply): void {
    const [, name, route = "revision", revision = "main", rest = ""] = [
      /^\/api\/models\/([^/?]+\/[^/?]+)(?:\/(revision|tree|paths-info)\/([^/?]+))?/,
      /^\/([^/]+\/[^/]+)\/(resolve)\/([^/]+)\/([^?]+)/,
    ].map((form) => form.exec(path)).find((match) => match !== null)?.map((part) =>
      part && decodeURIComponent(part)
    ) ??
      [];
    const repository = this.repositories.get(name ?? "");
    if (!repository) return reply.error(401, "RepoNotFound", "Repository not found");
    const { commit, files } = repository;
    if (token !== null && token !== (repository.token ?? token)) {
      return reply.error(401, "", "Invalid credentials in Authorization header");
    }
    if (!["main", commit].includes(revision)) return reply.error(404, "RevisionNotFound", "Invalid rev id");
    const entry = ([path, data]: [string, Uint8Array]) => ({
      ...{ type: "file", path, size: data.length, oid: gitHash(data) },
      ...(data.length > largeFrom ? { lfs: { oid: sha256(data), size: data.length, pointerSize: 134 } } : {}),
    });
    if (route === "revision") {
      return reply.json({
        ...{ _id: "0", id: name, sha: commit, private: false, gated: false, downloads: 0, likes: 0 },
        ...{
          lastModified: "2021-07-21T00:00:00.000Z",
          siblings: [...files.keys()].map((rfilename) => ({ rfilename })),
        },
      });
    }
    if (route === "tree") {
      // two files a page, so that the pages are followed
      const from = Number(new URL(path, this.url).searchParams.get("cursor") ?? 0), all = [...files];
      const next = `<${this.url}${path.replace(/[&?]cursor=\d+/, "")}&cursor=${from + 2}>; rel="next"`;
      return reply.json(all.slice(from, from + 2).map(entry), from + 2 < all.length ? { link: next } : {});
    }
    if (route === "paths-info") {
      const { paths } = JSON.parse(body) as { paths: string[] };
      return reply.json([...files].filter(([path]) => paths.includes(path)).map(entry));
    }
    if (repository.token !== undefined && token === null) {
      return reply.error(401, "GatedRepo", "Access is restricted");
    }
    const data = files.get(rest);
    if (!data) return reply.error(404, "EntryNotFound", "Entry not found", { "x-repo-commit": commit });
    if (data.length <= largeFrom) {
      return reply.file(data, { etag: `"${gitHash(data)}"`, "x-repo-commit": commit });
    }
    const port = (this.#store.address() as AddressInfo).port, hash = sha256(data);
    reply.redirect(`http://127.0.0.1:${port}/${hash}`, {
      "x-repo-commit": commit,
      "x-linked-size": `${data.length}`,
      "x-linked-etag": `"${hash}"`,
    });
  }
}

/** Writes one answer. */
class Reply {
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #fault: Fault;

  constructor(request: IncomingMessage, response: ServerResponse, fault: Fault) {
    this.#request = request;
    this.#response = response;
    this.#fault = fault;
  }

  json(value: unknown, headers: Record<string, string> = {}, status = 200): void {
    this.#response.writeHead(status, { "content-type": "application/json", ...headers });
    this.#response.end(this.#request.method === "HEAD" ? undefined : JSON.stringify(value));
  }

  error(status: number, code: string, message: string, headers: Record<string, string> = {}): void {
    this.json({ error: message }, { "x-error-code": code, "x-error-message": message, ...headers }, status);
  }

  redirect(location: string, headers: Record<string, string>): void {
    this.#response.writeHead(302, { location, "content-length": "0", ...headers });
    this.#response.end();
  }

  /** Sends a file or a range of it, honouring If-Range and If-None-Match. */
  file(data: Uint8Array, headers: Record<string, string>): void {
    const { method, headers: asked } = this.#request, { spoil, ignoreRange, noLength } = this.#fault;
    if (headers.etag !== undefined && asked["if-none-match"] === headers.etag) {
      this.#response.writeHead(304, headers);
      this.#response.end();
      return;
    }
    const isSame = asked["if-range"] === undefined ||
      [headers.etag, headers["last-modified"]].includes(`${asked["if-range"]}`);
    const [, first, last] = (!ignoreRange && isSame && /^bytes=(\d+)-(\d*)$/.exec(asked.range ?? "")) || [];
    const from = Number(first ?? 0), to = Math.min(last ? Number(last) + 1 : data.length, data.length);
    if (first !== undefined && from >= data.length) {
      this.#response.writeHead(416, { "content-range": `bytes */${data.length}` });
      this.#response.end();
      return;
    }
    const bytes = data.slice(from, to);
    if (spoil) bytes[bytes.length >> 1] ^= 1;
    this.#response.writeHead(first === undefined ? 200 : 206, {
      ...(noLength ? {} : { "content-length": `${bytes.length}` }),
      ...(ignoreRange ? {} : { "accept-ranges": "bytes" }),
      ...(first === undefined ? {} : { "content-range": `bytes ${from}-${to - 1}/${data.length}` }),
      "content-type": "application/octet-stream",
      ...headers,
    });
    if (method === "HEAD") this.#response.end();
    else void this.#send(bytes);
  }

  async #send(bytes: Uint8Array): Promise<void> {
    const response = this.#response, { cutAfter = Infinity, silentAfter = Infinity, slow = 0 } = this.#fault;
    const end = Math.min(bytes.length, cutAfter, silentAfter), block = 2 ** 16;
    for (let at = 0; at < end && !response.destroyed; at += block) {
      if (slow > 0) await new Promise((resolve) => setTimeout(resolve, slow));
      await new Promise((resolve) => response.write(bytes.subarray(at, Math.min(at + block, end)), resolve));
    }
    if (end === bytes.length) response.end();
    else if (end === cutAfter) setTimeout(() => response.destroy(), 50); // what was written arrives first
  }
}
