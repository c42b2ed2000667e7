// A lock that is a file: what it stands for belongs to one process. The file names the process and its machine, and its date is
// a heartbeat, so that the lock of a process that has ended is recognised, also from another machine.
import { randomUUID } from "node:crypto";
import { closeSync, openSync, readFileSync, rmSync, statSync, writeFileSync, writeSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { clearInterval, setInterval } from "node:timers";
import { jsonRecord } from "../formats/json.ts";
import { printable } from "../formats/text.ts";
import { writeAtomic, writeError } from "./atomic.ts";
import { place, startOf, stateOf } from "./process.ts";

/** Milliseconds between two heartbeats. */
const beatEvery = 15_000;
/** A lock whose process cannot be looked at counts as left behind after this many milliseconds without a heartbeat. */
const staleAfter = 300_000;
/** A process needs less than this many milliseconds from creating the file until it holds it. */
const creation = 2000;

/** What the file says. */
interface Owner {
  readonly host: string;
  readonly place: string;
  readonly pid: number;
  /** When the process started (`startOf`), because numbers of processes are used again. */
  readonly started: number | null;
  /** Tells this lock from all others. */
  readonly token: string;
  /** Whether the process also holds the file by the system's own lock, which ends with the process. */
  readonly isHeld: boolean;
}

/** Another process has the lock, as far as can be known. */
export class LockedError extends Error {
  override readonly name = "LockedError";
  /** The process and its machine. */
  readonly owner: string;
  /** What to do if the process has ended, as it may have; "" where it certainly runs. */
  readonly doubt: string;

  constructor(path: string, owner: string, doubt: string) {
    super(`${path}: ${owner} has this lock${doubt}`);
    this.owner = owner;
    this.doubt = doubt;
  }
}

/** Another process has taken the lock away, because this one gave no sign of life for too long. */
export class LockLostError extends Error {
  override readonly name = "LockLostError";
  /** The process and its machine. */
  readonly owner: string;

  constructor(path: string, owner: string) {
    super(`${path}: ${owner} has taken this lock`);
    this.owner = owner;
  }
}

/** A lock that this process has until `release`. */
export class FileLock {
  /** The number of the process that had the lock before and has ended; undefined if there was none on this machine. */
  readonly before: number | undefined;
  readonly #path: string;
  readonly #owner: Owner;
  #held: HeldFile | null = null;
  #timer: ReturnType<typeof setInterval> | undefined;

  private constructor(path: string, owner: Owner, before: number | undefined) {
    this.#path = path;
    this.#owner = owner;
    this.before = before;
  }

  /** Takes the lock. @throws LockedError if another process has it, or this one already */
  static async take(path: string): Promise<FileLock> {
    const owner: Owner = {
      host: hostname(),
      place: place(),
      pid: process.pid,
      started: startOf(process.pid),
      token: randomUUID(),
      isHeld: denoFiles() !== null,
    };
    if (create(path, owner)) return new FileLock(path, owner, undefined).#hold();
    const other = ownerOf(path);
    if (await isAlive(path, other)) throw locked(path, other);
    // Both of two processes that find the same lock left behind may come here. The last one to replace it has it.
    await writeAtomic(path, (file) => file.writeFile(textOf(owner)));
    const isHere = other?.place === owner.place;
    const lock = new FileLock(path, owner, isHere ? other?.pid : undefined).#hold();
    await sleep(200);
    if (ownerOf(path)?.token !== owner.token) {
      lock.release();
      throw locked(path, ownerOf(path));
    }
    return lock;
  }

  /** Starts the heartbeat, which does not keep the process alive. @param every milliseconds, for tests */
  start(every = beatEvery): void {
    this.#timer ??= setInterval(() => this.#beat(), every);
    this.#timer.unref?.();
  }

  /** @throws LockLostError if another process has taken it, for example while this one was suspended */
  check(): void {
    const path = this.#path, owner = ownerOf(path);
    if (owner?.token === this.#owner.token) return;
    // a user may have removed the file
    if (owner !== null || !create(path, this.#owner)) throw new LockLostError(path, nameOf(owner));
    this.#hold();
  }

  /** Gives the lock back. */
  release(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#held?.close();
    this.#held = null;
    const path = this.#path;
    if (ownerOf(path)?.token === this.#owner.token) rmSync(path, { force: true });
  }

  /** Asks the system to lock the file too, where it can. */
  #hold(): this {
    this.#held?.close();
    this.#held = denoFiles()?.(this.#path) ?? null;
    if (this.#held) lockFile(this.#held);
    return this;
  }

  /** Writes the last byte again: the date of the file is then the time of the disk, which all machines see alike. */
  #beat(): void {
    try {
      const path = this.#path, text = textOf(this.#owner);
      if (readFileSync(path, "utf8") !== text) return; // `check` will notice
      const file = openSync(path, "r+");
      try {
        const bytes = new TextEncoder().encode(text);
        writeSync(file, bytes, bytes.length - 1, 1, bytes.length - 1);
      } finally {
        closeSync(file);
      }
    } catch {
      // a disk that is full or away for a moment
    }
  }
}

const textOf = (owner: Owner): string => `${JSON.stringify(owner, null, 2)}\n`;

/** Creates the lock. @returns whether there was none */
function create(path: string, owner: Owner): boolean {
  try {
    writeFileSync(path, textOf(owner), { flag: "wx" });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    rmSync(path, { force: true }); // a full disk leaves it empty
    throw writeError(path, error);
  }
}

/** Reads a lock; null if there is none, or it says nothing. */
function ownerOf(path: string): Owner | null {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch {
    return null;
  }
  const told = jsonRecord(text);
  const isOwner = typeof told?.host === "string" && typeof told.place === "string" &&
    Number.isInteger(told.pid);
  return isOwner ? told as unknown as Owner : null;
}

/** Whether the process that has a lock still runs, as far as can be known. */
async function isAlive(path: string, owner: Owner | null): Promise<boolean> {
  const age = ageOf(path);
  if (owner === null) return age < creation; // it is being created, or its process was killed just then
  if (owner.place === place()) {
    const state = stateOf(owner.pid, owner.started);
    if (state !== "unknown") return state === "running";
    if (owner.isHeld && isFree(path) !== null) {
      if (age < creation) await sleep(creation); // it may not hold the file yet
      return !isFree(path);
    }
  }
  return age < staleAfter;
}

/** Whether no process holds the file; null where this cannot be found out. */
function isFree(path: string): boolean | null {
  const file = denoFiles()?.(path) ?? null;
  const isLocked = file && lockFile(file);
  file?.close();
  return isLocked;
}

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Milliseconds since the last heartbeat, by the clock of the disk where a file can be written. */
function ageOf(path: string): number {
  const { mtimeMs } = statSync(path, { throwIfNoEntry: false }) ?? { mtimeMs: Date.now() };
  const probe = join(dirname(path), `.probe.${place()}-${process.pid}-0.tmp`);
  try {
    writeFileSync(probe, "");
    return statSync(probe).mtimeMs - mtimeMs;
  } catch {
    return Date.now() - mtimeMs;
  } finally {
    rmSync(probe, { force: true });
  }
}

function nameOf(owner: Owner | null): string {
  return owner === null ? "another process" : printable(`process ${owner.pid} on ${owner.host}`);
}

function locked(path: string, owner: Owner | null): LockedError {
  const seconds = Math.max(0, Math.round(ageOf(path) / 1000));
  const doubt = runsHere(owner)
    ? ""
    : `. Its last sign of life was ${seconds} s ago; if it has ended, delete ${path}, or wait until that is ` +
      `${staleAfter / 60_000} minutes ago`;
  return new LockedError(path, nameOf(owner), doubt);
}

const runsHere = (owner: Owner | null): boolean =>
  owner !== null && owner.place === place() && stateOf(owner.pid, owner.started) === "running";

/** Whether a process has a lock of which nobody here can say whether it still runs, because it is on another machine. */
export async function isDoubtful(path: string): Promise<boolean> {
  const owner = ownerOf(path);
  return owner !== null && !runsHere(owner) && await isAlive(path, owner);
}

/**
 * Waits for the process that has a lock to give a sign of life, or to be silent for so long that the lock can be taken.
 * @returns whether the lock may be free now
 */
export async function isSilent(path: string, signal?: AbortSignal): Promise<boolean> {
  const before = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
  while (true) {
    signal?.throwIfAborted();
    const now = statSync(path, { throwIfNoEntry: false })?.mtimeMs;
    if (now === undefined || ageOf(path) >= staleAfter) return true;
    if (now !== before) return false;
    await sleep(1000);
  }
}

/** An open file in Deno, whose lock needs no further permission. Bun and Node have none, and no permissions either. */
interface HeldFile {
  tryLockSync(exclusive: boolean): boolean;
  close(): void;
}

/** Locks a file. @returns whether it was free; null where the disk has no such locks */
function lockFile(file: HeldFile): boolean | null {
  try {
    return file.tryLockSync(true);
  } catch {
    return null;
  }
}

/** Returns what opens a file so that it can be locked; null where the runtime has no such locks. */
function denoFiles(): ((path: string) => HeldFile | null) | null {
  const { Deno: deno } = globalThis as { Deno?: { openSync(path: string, options: object): HeldFile } };
  if (typeof deno?.openSync !== "function") return null;
  return (path) => {
    try {
      return deno.openSync(path, { read: true, write: true });
    } catch {
      return null;
    }
  };
}
