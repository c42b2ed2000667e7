// Downloads one file: it goes on from what is there, asks again when the connection breaks, compares the hash, and gives the
// file its name only when it is whole.
import { mkdir, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { writeError } from "../files/atomic.ts";
import { freeBytes } from "../files/space.ts";
import { formatBytes, printable } from "../formats/text.ts";
import { RemoteError } from "./errors.ts";
import { withLock } from "./lock.ts";
import { Partial, partsOf, type StatedHash } from "./partial.ts";
import { bytesOf, get, type Patience, pause, Watch } from "./requests.ts";

/** A file on a server. */
export interface RemoteFile {
  /** As messages show it. */
  readonly text: string;
  readonly url: URL;
  /** Headers that each request needs. */
  readonly headers: Readonly<Record<string, string>>;
  /** Null if the server does not say. */
  readonly size: number | null;
  /** Null if the server states none. */
  readonly hash: StatedHash | null;
  /** Headers by which the server sends a rest only if the file is still the same; null if it cannot send a rest. */
  readonly ifSame: Readonly<Record<string, string>> | null;
  /** Returns the error for an answer that does not contain the file. */
  refused(response: Response): RemoteError;
}

/** Where a file goes. */
export interface Goal {
  /** The path of its content. */
  readonly path: string;
  /** The path of a lock that all processes with the same goal share. */
  readonly lock: string;
  /** Whether nothing is left to do. */
  isReached(): Promise<boolean>;
  /** Called when the content is there. @param isNew whether it was downloaded just now */
  settle(isNew: boolean): Promise<void>;
}

export interface DownloadOptions {
  /** Called with the bytes that are there so far, and in all; Infinity as long as nobody knows. */
  readonly onProgress?: (bytes: number, total: number) => void;
  readonly signal?: AbortSignal;
  /** Called with a line for the user. */
  readonly notice?: (line: string) => void;
  /** Looks at the first bytes. @throws if they show that the file is of no use */
  readonly inspect?: (head: Uint8Array, total: number) => Promise<void>;
  readonly patience: Patience;
  /** What the user can do to have the file on another disk. */
  readonly elsewhere: string;
}

/** The number of bytes that `inspect` sees. */
const headLength = 512;

/**
 * Downloads a file, unless it is there already. What an interruption leaves stays, and the next call goes on from there.
 * @throws RemoteError if the file cannot be had; an Error if it cannot be written or is not what it should be
 */
export async function download(file: RemoteFile, goal: Goal, options: DownloadOptions): Promise<void> {
  const { signal, notice, onProgress, elsewhere } = options, { size, hash, ifSame } = file;
  const folder = dirname(goal.path);
  let isWaiting = false;
  const onWait = async () => {
    if (!isWaiting) notice?.("another process is downloading this file; waiting for it");
    isWaiting = true;
    for (const part of await partsOf(goal.path)) onProgress?.(part.size, size ?? Infinity);
  };
  try {
    await mkdir(folder, { recursive: true });
    await withLock(goal.lock, { signal, onWait }, async (holder) => {
      if (await goal.isReached()) return isWaiting && size !== null ? onProgress?.(size, size) : undefined;
      const there = await stat(goal.path).catch(() => null);
      const isNew = there === null || (size !== null && there.size !== size);
      if (isNew) {
        const partial = await Partial.open(goal.path, holder, {
          size,
          hash,
          goesOn: ifSame !== null,
          signal,
        });
        try {
          await checkSpace(folder, file, partial.length, elsewhere);
          await complete(partial, file, options);
          await partial.finish(goal.path);
        } finally {
          await partial.close();
        }
      }
      await goal.settle(isNew);
    });
  } catch (error) {
    throw writeError(folder, error, elsewhere);
  }
}

/** Fetches what is missing, until the hash is right. */
async function complete(partial: Partial, file: RemoteFile, options: DownloadOptions): Promise<void> {
  const isContinued = partial.length > 0;
  await fetchRest(partial, file, options);
  const found = partial.digest(), wanted = file.hash?.hex ?? found;
  if (found === wanted) return;
  await partial.restart();
  if (isContinued) return await complete(partial, file, options); // what was there may have been damaged
  throw new RemoteError(
    `${file.text}: what arrived is not the file that the server describes (its hash is ${
      found.slice(0, 12)
    }..., ` +
      `expected ${wanted.slice(0, 12)}...), so it was deleted`,
    "try again, perhaps from another network",
  );
}

/** Fetches what is missing. If the connection breaks, it is made again, and the server is asked for the rest. */
async function fetchRest(partial: Partial, file: RemoteFile, options: DownloadOptions): Promise<void> {
  const { patience, signal, notice } = options;
  for (let failures = 0;;) {
    const before = partial.length, watch = new Watch(patience.silence, signal);
    try {
      return await receive(partial, file, watch, options);
    } catch (error) {
      if (!(error instanceof RemoteError) || !error.isPassing) throw error;
      if (partial.length > before) failures = 0;
      const pauses = patience.pauses.at(failures++);
      const wait = Math.max(pauses ?? 0, (error.retryAfter ?? 0) * 1000);
      if (pauses === undefined || wait > patience.longest) throw givenUp(error, file, partial.length);
      if (failures > 1) notice?.(`${error.problem}; asking again in ${Math.ceil(wait / 1000)} s`);
      watch.end();
      await pause(wait, signal);
    } finally {
      watch.end();
    }
  }
}

/** Asks once for what is missing, and writes what comes. @throws RemoteError if the connection breaks */
async function receive(
  partial: Partial,
  file: RemoteFile,
  watch: Watch,
  { onProgress, inspect }: DownloadOptions,
): Promise<void> {
  onProgress?.(partial.length, file.size ?? Infinity);
  if (partial.length === file.size) return;
  if (file.ifSame === null && partial.length > 0) await partial.restart();
  const { response, from, total } = await ask(file, partial.length, watch);
  let known = partial.length - from; // a server may send everything again
  for await (const chunk of bytesOf(response, watch, file.url.host)) {
    const bytes = chunk.subarray(Math.min(known, chunk.length));
    known -= chunk.length - bytes.length;
    const needsLook = partial.length < headLength;
    await partial.write(bytes);
    if (needsLook && partial.length >= Math.min(headLength, total)) {
      await inspect?.(await partial.head(headLength), total).catch(async (error) => {
        await partial.restart();
        throw error;
      });
    }
    onProgress?.(partial.length, total);
  }
  if (partial.length === total || (total === Infinity && known === 0)) return;
  const problem = `${file.url.host} sent ${partial.length} bytes of ${total}`;
  throw new RemoteError(problem, "try again", { isPassing: true });
}

/** Asks for the bytes from `from` on. A server may also send the whole file. */
async function ask(
  file: RemoteFile,
  from: number,
  watch: Watch,
): Promise<{ readonly response: Response; readonly from: number; readonly total: number }> {
  const rest = from > 0 ? { ...file.ifSame, range: `bytes=${from}-` } : {};
  const response = await get(file.url, { ...file.headers, ...rest, "accept-encoding": "identity" }, watch);
  const { status, headers } = response;
  const [, first, all] =
    /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get("content-range") ?? "")?.map(Number) ?? [];
  const length = headers.has("content-encoding") ? NaN : Number(headers.get("content-length") ?? NaN);
  const stated = status === 206 ? all : length;
  const problem = status === 200 || status === 206 || status === 416
    ? mismatch(file, { status, headers, from, first, stated })
    : file.refused(response);
  if (problem === null) {
    const total = file.size ?? (stated >= 0 ? stated : Infinity);
    return { response, from: status === 206 ? from : 0, total };
  }
  await response.body?.cancel();
  throw problem;
}

/** Returns why an answer does not hold the rest of the same file, or null. */
function mismatch(
  { text, url, size, ifSame }: RemoteFile,
  { status, headers, from, first, stated }: {
    readonly status: number;
    readonly headers: Headers;
    readonly from: number;
    readonly first: number;
    readonly stated: number;
  },
): RemoteError | null {
  const fail = (why: string) => new RemoteError(`${text}: ${url.host} ${why}`, "try again");
  const version = ifSame?.["if-range"], found = [headers.get("etag"), headers.get("last-modified")];
  const isOther = status === 200 && from > 0 && version !== undefined && !found.includes(version);
  if (isOther || status === 416) return fail("has another version now"); // 416: it has no more bytes
  if (status === 206 && first !== from) return fail(`sends the bytes from ${first} on instead of ${from}`);
  if (size !== null && stated >= 0 && stated !== size) return fail(`has ${stated} bytes instead of ${size}`);
  return null;
}

function givenUp(error: RemoteError, { text, size }: RemoteFile, length: number): RemoteError {
  if (length === 0) return new RemoteError(`${text}: ${error.problem}`, error.advice, { cause: error });
  const all = size === null ? "" : ` of ${formatBytes(size)}`;
  const problem = `${text}: the download stopped at ${formatBytes(length)}${all}: ${error.problem}`;
  return new RemoteError(problem, "the same command goes on from there", { cause: error });
}

/** @throws if the disk has less room than what is missing */
async function checkSpace(
  folder: string,
  { text, size }: RemoteFile,
  length: number,
  elsewhere: string,
): Promise<void> {
  const free = size === null ? null : await freeBytes(folder), missing = (size ?? 0) - length;
  if (free === null || free >= missing) return;
  throw new Error(
    `${text} needs ${formatBytes(missing)} in ${printable(folder)}, where ${
      formatBytes(free)
    } are free; make room, or ${elsewhere}`,
  );
}
