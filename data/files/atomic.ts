// Writes files so that they appear whole or not at all: under a temporary name in the same folder, synced, then
// renamed.
import { createHash } from "node:crypto";
import { mkdir, open, readdir, rename, unlink } from "node:fs/promises";
import type { FileHandle } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { place, stateOf } from "./process.ts";
import { codeOf, troubleOf } from "./system_errors.ts";

let counter = 0;

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
  let temporary: string | null = null;
  try {
    await removeLeftovers(folder, basename(path));
    const file = await openTemporary(folder, basename(path));
    temporary = file.path;
    try {
      await write(file.handle);
      await file.handle.sync();
    } finally {
      await file.handle.close();
    }
    await rename(temporary, path);
  } catch (error) {
    if (temporary !== null) await unlink(temporary).catch(() => {});
    throw writeError(path, error);
  }
  await syncFolder(folder);
}

/** A name, or a hash that stands for a name that leaves no room for more. */
function shortened(name: string): string {
  const bytes = new TextEncoder().encode(name);
  return bytes.length <= 100 ? name : createHash("sha256").update(bytes).digest("hex").slice(0, 32);
}

/** Opens a new file. "wx" follows no link and replaces nothing, whatever somebody has put under its name. */
async function openTemporary(folder: string, name: string): Promise<{ path: string; handle: FileHandle }> {
  while (true) {
    const path = join(folder, `.${shortened(name)}.${place()}-${process.pid}-${counter++}.tmp`);
    try {
      return { path, handle: await open(path, "wx") };
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
  }
}

/**
 * Removes the temporary files in a folder whose processes of this machine have ended. A file stays if its process number is in
 * use again, or if it cannot be found out whether its process runs.
 * @param name only those of this file; default: of all files
 * @param dead the number of a process that has ended
 * @returns the temporary files of other machines, and of processes about which nothing is known
 */
export async function removeLeftovers(folder: string, name?: string, dead?: number): Promise<string[]> {
  const left: string[] = [], here = `.${place()}`;
  for (const entry of await readdir(folder).catch(() => [])) {
    const [, start, pid] = /^\.(.+)-(\d+)-\d+\.tmp$/.exec(entry) ?? [];
    if (pid === undefined || name !== undefined && start !== shortened(name) + here) continue;
    const state = !start.endsWith(here) ? "unknown" : Number(pid) === dead ? "ended" : stateOf(Number(pid));
    if (state === "ended") await unlink(join(folder, entry)).catch(() => {});
    else if (state === "unknown") left.push(entry);
  }
  return left;
}

/**
 * Returns an error that says what the system's error means for a path, or the same error if it is not from the system.
 * @param elsewhere what else the user can do, if there is something
 */
export function writeError(path: string, error: unknown, elsewhere?: string): unknown {
  return changeError(path, "written", error, elsewhere);
}

function changeError(path: string, done: string, error: unknown, elsewhere?: string): unknown {
  const trouble = troubleOf(error, "writing");
  if (trouble === null) return error;
  const { problem, wayOut } = trouble, advice = elsewhere === undefined ? "" : `, or ${elsewhere}`;
  return new Error(`${path} was not ${done} (${codeOf(error)}): ${problem}; ${wayOut}${advice}`, {
    cause: error,
  });
}

/** Syncs the folder, which makes the rename durable. Systems that cannot open a folder do not need it. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch(() => null);
  if (handle === null) return;
  await handle.sync().catch(() => {});
  await handle.close();
}

/** Makes a folder and those around it, if they do not exist. @throws a one-line error if the system refuses */
export async function makeFolder(path: string): Promise<void> {
  try {
    await mkdir(path, { recursive: true });
  } catch (error) {
    throw changeError(path, "made", error);
  }
}

/** Removes a file, if there is one. @throws a one-line error if the system refuses, as for a folder */
export async function removeFile(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw changeError(path, "removed", error);
  }
}
