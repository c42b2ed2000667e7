// Writes files so that they appear whole or not at all: under a temporary name in the same folder, synced, then
// renamed.
import { readlinkSync } from "node:fs";
import { open, readdir, rename, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { isGranted } from "../../src/environment.ts";

let counter = 0;

/**
 * Part of the names of temporary files. It identifies the machine and, on Linux, the container, because process numbers
 * are unique only there. It is looked up when something is written and not on import, because Deno asks for permission
 * to read the host name.
 */
export function place(): string {
  return `${hostname()}-${pidNamespace()}`.replace(/[^\w.-]+/g, "_");
}

/**
 * Identifies the container on Linux. Two containers may share a host name and a folder, but they number their processes
 * separately.
 */
function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return ""; // not Linux
  }
}

/** What the system's error codes mean for the file, and what to do. */
const reasons: Readonly<Record<string, string>> = {
  ENOSPC: "the disk is full; make room and try again",
  EDQUOT: "the disk quota is used up; make room and try again",
  EFBIG: "it is larger than the system allows; raise the limit (ulimit -f) or write elsewhere",
  ENOENT: "its folder does not exist; make it first",
  ENOTDIR: "its folder is a file; choose another path",
  EACCES: "there is no permission to write to the folder; change its permissions or choose another",
  EROFS: "the disk is read-only; choose another folder",
};

/**
 * Creates or replaces the file `path` with what `write` puts into the handle. Readers see the old file or the
 * new one, never a part, even after a power cut. If `write` throws, the old file stays and the temporary one
 * is removed. If the process is killed, the next writer of the same path removes the temporary file.
 *
 * @example
 * ```ts
 * await writeAtomic("config.json", (file) => file.writeFile("{}"));
 * ```
 * @throws what `write` throws; a one-line error if the disk is full, or the folder is missing or not writable.
 */
export async function writeAtomic(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const folder = dirname(path);
  const temporary = join(folder, `.${basename(path)}.${place()}-${process.pid}-${counter++}.tmp`);
  try {
    await removeLeftovers(folder, basename(path));
    const file = await open(temporary, "w");
    try {
      await write(file);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await unlink(temporary).catch(() => {});
    throw writeError(path, error);
  }
  await syncFolder(folder);
}

/**
 * Removes the temporary files of `name` whose processes have ended. A file stays if its process number is in use again.
 */
async function removeLeftovers(folder: string, name: string): Promise<void> {
  const start = `.${name}.${place()}-`;
  for (const entry of await readdir(folder).catch(() => [])) {
    if (!entry.startsWith(start)) continue;
    const [, pid] = /^(\d+)-\d+\.tmp$/.exec(entry.slice(start.length)) ?? [];
    if (pid !== undefined && !isAlive(Number(pid))) await unlink(join(folder, entry)).catch(() => {});
  }
}

/**
 * Whether a process with this number is running, whoever owns it. Returns true if this cannot be found out, as in Deno without
 * the permission to run programs.
 */
export function isAlive(pid: number): boolean {
  if (!isGranted({ name: "run" })) return true; // Deno would ask the user
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}

/**
 * Returns an error that says what the system's error means for a path, or the same error if it is not from the system.
 * @param elsewhere what else the user can do, if there is something
 */
export function writeError(path: string, error: unknown, elsewhere?: string): unknown {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  const reason = reasons[code];
  if (reason === undefined) return error;
  const advice = elsewhere === undefined ? "" : `, or ${elsewhere}`;
  return new Error(`${path} was not written (${code}): ${reason}${advice}`, { cause: error });
}

/** Syncs the folder, which makes the rename durable. Systems that cannot open a folder do not need it. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => null);
  if (handle === null) return;
  await handle.sync().catch(() => {});
  await handle.close();
}
