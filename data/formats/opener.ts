// A checkpoint as people hand it over: bytes, a Blob, one that is open already, or a path. Paths are for the half of the
// package that knows the disk, which registers how they are opened (data/files/open.ts).
import { shown } from "../../src/check.ts";
import type { CheckpointFile } from "./file.ts";
import { readCheckpoint } from "./read.ts";
import { blobSource, memorySource, type RandomAccess } from "./source.ts";

/**
 * What a checkpoint is read from. Bytes and Blobs (a page's `File` is one) work everywhere, and so does a checkpoint that
 * is open. A path (a file, or a folder with a Flax model) needs the full package.
 */
export type CheckpointSource = string | Uint8Array | ArrayBuffer | Blob | CheckpointFile;

type Opener = (path: string) => Promise<CheckpointFile>;
let opener: Opener | null = null;

/** Says how paths are opened from now on. */
export function registerOpener(open: Opener): void {
  opener = open;
}

/**
 * Opens a checkpoint for the length of `use`; one that was open before stays open.
 * @param who whom an error names: the function that was called
 * @throws FormatError if the source cannot be read; an Error if it is a path and nobody registered how to open one.
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
      `"@tessera/vqgan/core" (core.ts), or give bytes or a Blob`,
  );
}

function sourceOf(who: string, bytes: Uint8Array | ArrayBuffer | Blob): RandomAccess {
  if (bytes instanceof Blob) return blobSource(bytes instanceof File ? bytes.name : "(Blob)", bytes);
  if (bytes instanceof Uint8Array) return memorySource("(bytes)", bytes);
  if (bytes instanceof ArrayBuffer) return memorySource("(bytes)", new Uint8Array(bytes));
  throw new TypeError(`${who}: got ${shown(bytes)}, expected a path, bytes, a Blob or an open checkpoint`);
}
