// Checkpoints at web addresses. They are kept in a folder of Tessera's own, one for each address, with what the server says
// to recognise a version: ETag or Last-Modified.
import { createHash } from "node:crypto";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, join } from "node:path";
import { writeAtomic } from "../files/atomic.ts";
import { jsonRecord } from "../formats/json.ts";
import { printable } from "../formats/text.ts";
import { download, type DownloadOptions, type RemoteFile } from "./download.ts";
import { RemoteError } from "./errors.ts";
import type { WebName } from "./names.ts";
import { get, unexpected, Watch } from "./requests.ts";
import { ownCache } from "./settings.ts";

/** The version that is in the folder of an address. */
interface Kept {
  readonly etag: string | null;
  readonly modified: string | null;
  readonly path: string;
}

/** Returns the path of the file, which is downloaded if the server has another version than the one that is here. */
export async function fetchAddress(name: WebName, options: DownloadOptions): Promise<string> {
  const folder = join(ownCache(), shortHash(name.url.href));
  const kept = await readKept(folder);
  let found: { readonly file: RemoteFile; readonly version: Omit<Kept, "path"> } | null;
  try {
    found = await lookUp(name, kept, options);
  } catch (error) {
    if (!(error instanceof RemoteError) || error.isMissing) throw error;
    if (kept === null) {
      throw error.isPassing ? new RemoteError(`${name.text}: ${error.problem}`, error.advice) : error;
    }
    options.notice?.(`${error.problem}; using the copy that was downloaded before`);
    return kept.path;
  }
  if (found === null) return kept!.path;
  const { file, version } = found;
  const id = shortHash(`${version.etag ?? version.modified ?? Date.now()}`), last = nameOf(name.url);
  const path = join(folder, id, last);
  await download(file, {
    path,
    lock: join(folder, "lock"),
    isReached: async () => (await readKept(folder))?.path === path,
    settle: async () => {
      await writeAtomic(join(folder, "version.json"), (handle) => {
        return handle.writeFile(JSON.stringify({ address: name.text, ...version, path: `${id}/${last}` }));
      });
      for (const entry of await readdir(folder, { withFileTypes: true })) {
        const isOld = entry.isDirectory() && entry.name !== id;
        if (isOld) await rm(join(folder, entry.name), { recursive: true, force: true });
      }
    },
  }, options);
  return path;
}

/** Asks for the first byte, which tells the size and the version. Returns null if the version is the one that is here. */
async function lookUp(
  { url, text }: WebName,
  kept: Kept | null,
  { signal, patience }: DownloadOptions,
): Promise<{ file: RemoteFile; version: Omit<Kept, "path"> } | null> {
  const watch = new Watch(patience.question, signal);
  try {
    const response = await get(url, {
      range: "bytes=0-0",
      "accept-encoding": "identity",
      ...(kept?.etag
        ? { "if-none-match": kept.etag }
        : kept?.modified
        ? { "if-modified-since": kept.modified }
        : {}),
    }, watch);
    await response.body?.cancel();
    const { status, headers } = response;
    if (status === 304 && kept !== null) return null;
    if (status !== 200 && status !== 206) throw refused(response, text);
    const etag = headers.get("etag"), modified = headers.get("last-modified");
    if (kept !== null && (etag ?? modified) !== null && etag === kept.etag && modified === kept.modified) {
      return null;
    }
    const all = /\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1];
    const whole = headers.has("content-encoding") ? null : headers.get("content-length");
    const size = status === 206 ? all : whole;
    const validator = etag !== null && !etag.startsWith("W/") ? etag : modified;
    return {
      version: { etag, modified },
      file: {
        text,
        url,
        headers: {},
        size: size ? Number(size) : null,
        hash: null,
        ifSame: status === 206 && validator !== null ? { "if-range": validator } : null,
        refused: (answer) => refused(answer, text),
      },
    };
  } finally {
    watch.end();
  }
}

function refused(response: Response, text: string): RemoteError {
  const { status } = response;
  if (status === 401 || status === 403) {
    const problem = `${text}: the server wants a login or refuses access (${status})`;
    return new RemoteError(problem, "download it in a browser and give its path");
  }
  if (status === 404 || status === 410) {
    return new RemoteError(`${text}: there is no such file (${status})`, "check the address", {
      isMissing: true,
    });
  }
  return unexpected(response, printable(new URL(response.url).host), text);
}

async function readKept(folder: string): Promise<Kept | null> {
  const text = await readFile(join(folder, "version.json"), "utf8").catch(() => undefined);
  const { etag = null, modified = null, path } = jsonRecord(text) ?? {};
  if (typeof path !== "string" || !/^[0-9a-f]+\/[\w.-]+$/.test(path)) return null;
  if (await stat(join(folder, path)).catch(() => null) === null) return null;
  return {
    etag: typeof etag === "string" ? etag : null,
    modified: typeof modified === "string" ? modified : null,
    path: join(folder, path),
  };
}

/** The last part of the address, as a name that every system allows. */
function nameOf(url: URL): string {
  const last = basename(url.pathname).replace(/%[0-9a-f]{2}|[^\w.-]/gi, "_").replace(/^[.-]+/, "");
  return last.slice(-100) || "checkpoint";
}

function shortHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 16);
}
