// Opens a checkpoint from bytes, a Blob, a path, a name, or one that is open already. Opening paths needs a disk, and names
// need the network and a disk, so the full package registers both (data/files/open.ts, data/hub/fetch.ts).
import { aSignal, callback, flag, type Rules, shown, text } from "../../src/check.ts";
import type { CheckpointFile, ModelChoice } from "./file.ts";
import { readCheckpoint } from "./read.ts";
import { blobSource, memorySource, type RandomAccess } from "./source.ts";

/**
 * What a checkpoint can be read from. Bytes, Blobs (including a web page's `File`) and open checkpoints work
 * everywhere. A path (a file, or a folder with the model of a library), a name on the Hugging Face hub (`hf:owner/name`) and a
 * web address (`https://...`) need the full package.
 */
export type CheckpointSource = string | Uint8Array | ArrayBuffer | Blob | CheckpointFile;

/** What goes on while a checkpoint is opened: it is downloaded, if a name or an address was given, and then read. */
export type LoadStage = "download" | "read";

/** How a checkpoint is opened. */
export interface OpenOptions extends ModelChoice {
  /**
   * Called while a checkpoint is downloaded and read, with the bytes so far and in all (Infinity if a server does not say).
   * Counting starts anew with the stage.
   */
  readonly onProgress?: (bytes: number, total: number, stage: LoadStage) => void;
  /** Aborting it makes the function reject with its reason. What was downloaded so far stays for the next time. */
  readonly signal?: AbortSignal;
}

export const openRules: Rules<OpenOptions> = {
  inside: text,
  average: flag,
  onProgress: callback,
  signal: aSignal,
};

type Opener = (path: string, options: OpenOptions) => Promise<CheckpointFile>;
type Fetcher = (name: string, options: OpenOptions) => Promise<string>;
let opener: Opener | null = null, fetcher: Fetcher | null = null;

/** Sets the function that opens paths from now on. */
export function registerOpener(open: Opener): void {
  opener = open;
}

/** Sets the function that downloads what a name means, and returns its path, from now on. */
export function registerFetcher(fetch: Fetcher): void {
  fetcher = fetch;
}

/** Whether this is the name of a checkpoint on the network, and not a path. */
export function isRemote(name: string): boolean {
  return /^(hf:|https?:\/\/)/i.test(name);
}

/** Returns the path of a checkpoint on this disk. If a name is given, it is downloaded first, unless it was before. */
export async function localPath(pathOrName: string, options: OpenOptions = {}): Promise<string> {
  return fetcher !== null && isRemote(pathOrName) ? await fetcher(pathOrName, options) : pathOrName;
}

/**
 * Opens a checkpoint while `use` runs. A checkpoint that was already open stays open.
 * @param who the function that errors name as the caller
 * @throws FormatError if the source cannot be read; an Error if it is a path and no opener is registered.
 */
export async function withCheckpoint<T>(
  who: string,
  source: CheckpointSource,
  use: (file: CheckpointFile) => Promise<T>,
  options: OpenOptions = {},
): Promise<T> {
  if (typeof source === "object" && source !== null && "tensors" in source) return await use(source);
  const file = typeof source === "string"
    ? await openPath(who, source, options)
    : await readCheckpoint(sourceOf(who, source), { inside: options.inside, average: options.average });
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function openPath(who: string, path: string, options: OpenOptions): Promise<CheckpointFile> {
  const { inside, average, onProgress, signal } = options; // callers' options may have more
  if (opener) return await opener(path, { inside, average, onProgress, signal });
  throw new Error(
    `${who}: a ${
      isRemote(path) ? "name" : "path"
    } ("${path}") needs the full package: import from "@tessera/vqgan" (mod.ts) instead of ` +
      `"@tessera/vqgan/core" (core.ts), or pass bytes or a Blob`,
  );
}

function sourceOf(who: string, bytes: Uint8Array | ArrayBuffer | Blob): RandomAccess {
  if (bytes instanceof Blob) return blobSource(bytes instanceof File ? bytes.name : "(Blob)", bytes);
  if (bytes instanceof Uint8Array) return memorySource("(bytes)", bytes);
  if (bytes instanceof ArrayBuffer) return memorySource("(bytes)", new Uint8Array(bytes));
  throw new TypeError(`${who}: got ${shown(bytes)}, expected a path, bytes, a Blob or an open checkpoint`);
}
