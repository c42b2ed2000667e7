// A lock among processes, so that eight of them that start at once download a checkpoint once. It only saves work: if it
// is taken from a process that hangs, both write the same bytes, each under a name of its own.
import { mkdir, readFile, rename, stat, unlink, utimes, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import { isAlive, place } from "../files/process.ts";
import { pause } from "./requests.ts";

/** Milliseconds between two signs of life, and after how long without one a lock is taken away. */
const interval = 2000, abandoned = 10_000;

/** The locks that this process holds now. */
const held = new Set<string>();
let counter = 0;

/**
 * Runs `use` while no other process runs it for the same path.
 * @param onWait called again and again while another process has the lock
 * @param use gets the name of this holder, which no other has
 */
export async function withLock<T>(
  path: string,
  { signal, onWait }: { readonly signal?: AbortSignal; readonly onWait: () => Promise<void> },
  use: (holder: string) => Promise<T>,
): Promise<T> {
  const holder = `${place()}-${process.pid}-${counter++}`;
  await mkdir(dirname(path), { recursive: true });
  held.add(holder);
  try {
    while (!await take(path, holder)) {
      await onWait();
      await pause(200, signal);
    }
    const timer = setInterval(() => utimes(path, new Date(), new Date()).catch(() => {}), interval);
    try {
      return await use(holder);
    } finally {
      clearInterval(timer);
      if (await holderOf(path) === holder) await unlink(path).catch(() => {});
    }
  } finally {
    held.delete(holder);
  }
}

async function take(path: string, holder: string): Promise<boolean> {
  try {
    await writeFile(path, holder, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== "EEXIST") throw error;
  }
  const other = await holderOf(path);
  if (other === null || !await isAbandoned(path, other)) return false;
  // Only one of those who see this can rename it. If a new holder came in between, it gets its lock back.
  const aside = `${path}.${holder}`;
  await rename(path, aside).catch(() => {});
  const renamed = await holderOf(aside);
  if (renamed !== null && renamed !== other) await rename(aside, path).catch(() => {});
  else await unlink(aside).catch(() => {});
  return false; // the next attempt may succeed
}

async function holderOf(path: string): Promise<string | null> {
  return await readFile(path, "utf8").catch(() => null);
}

async function isAbandoned(path: string, holder: string): Promise<boolean> {
  if (held.has(holder)) return false;
  const [, where, pid] = /^(.*)-(\d+)-\d+$/s.exec(holder) ?? [];
  if (where === place() && (Number(pid) === process.pid || !isAlive(Number(pid)))) return true;
  const info = await stat(path).catch(() => null);
  return info !== null && Date.now() - info.mtimeMs > abandoned;
}
