// Files appear whole or not at all: written under a temporary name in the same folder, synced, then renamed.
import { open, rename, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";

let counter = 0;

/**
 * Creates or replaces the file `path` with what `write` puts into the handle. Readers see the old file or the
 * new one, never a part, even after a power cut. If `write` throws, the old file stays and the temporary one
 * is removed.
 *
 * @example
 * await writeAtomic("run/config.json", (file) => file.writeFile("{}"));
 * @throws what `write` throws, or the system's error if the folder is missing or full.
 */
export async function writeAtomic(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${process.pid}-${counter++}.tmp`);
  const file = await open(temporary, "w");
  try {
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw error;
  }
  await syncFolder(folder);
}

/**
 * The rename itself is durable only once the folder is synced; systems that cannot open a folder need no
 * sync.
 */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => null);
  if (handle === null) return;
  await handle.sync().catch(() => {});
  await handle.close();
}
