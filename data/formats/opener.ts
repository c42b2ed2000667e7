// Opens a checkpoint from bytes, a Blob, a path, or one that is open already. Opening paths needs a disk, so the full
// package registers it (data/files/open.ts).
import { shown } from "../../src/check.ts";
import type { CheckpointFile } from "./file.ts";
import { readCheckpoint } from "./read.ts";
import { blobSource, memorySource, type RandomAccess } from "./source.ts";

/**
 * What a checkpoint can be read from. Bytes, Blobs (including a web page's `File`) and open checkpoints work
 * everywhere. A path (a file, or a folder with the model of a library) needs the full package.
 */
export type CheckpointSource = string | Uint8Array | ArrayBuffer | Blob | CheckpointFile;

type Opener = (path: string) => Promise<CheckpointFile>;
let opener: Opener | null = null;

/** Sets the function that opens paths from now on. */
export function registerOpener(open: Opener): void {
  opener = open;
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
): Promise<T> {
  if (typeof source === "object" && source !== null && "tensors" in source) return await use(source);
  const file = typeof source === "string"
    ? await openPath(who, source)
    : await readCheckpoint(sourceOf(who, source));
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}

async function openPath(who: string, path: string): Promise<CheckpointFile> {
  if (opener) return await opener(path);
  throw new Error(
    `${who}: a path ("${path}") needs the full package: import from "@tessera/vqgan" (mod.ts) instead of ` +
      `"@tessera/vqgan/core" (core.ts), or pass bytes or a Blob`,
  );
}

function sourceOf(who: string, bytes: Uint8Array | ArrayBuffer | Blob): RandomAccess {
  if (bytes instanceof Blob) return blobSource(bytes instanceof File ? bytes.name : "(Blob)", bytes);
  if (bytes instanceof Uint8Array) return memorySource("(bytes)", bytes);
  if (bytes instanceof ArrayBuffer) return memorySource("(bytes)", new Uint8Array(bytes));
  throw new TypeError(`${who}: got ${shown(bytes)}, expected a path, bytes, a Blob or an open checkpoint`);
}
