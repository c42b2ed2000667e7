// One run folder belongs to one process: lock.json in it says to which.
import { join } from "node:path";
import { FileLock, LockedError, LockLostError } from "../../data/files/lock.ts";
import { RunInUseError, RunTakenError } from "../errors.ts";

/** The lock of a run folder, which this process has until `release`. */
export class RunLock {
  readonly #folder: string;
  readonly #lock: FileLock;

  private constructor(folder: string, lock: FileLock) {
    this.#folder = folder;
    this.#lock = lock;
  }

  /** Takes the folder. @throws RunInUseError if another process has it, or this one already */
  static async take(folder: string): Promise<RunLock> {
    try {
      return new RunLock(folder, await FileLock.take(join(folder, "lock.json")));
    } catch (error) {
      throw error instanceof LockedError ? new RunInUseError(folder, error.owner, error.doubt) : error;
    }
  }

  /** The number of the process that had the folder before and has ended; undefined if there was none on this machine. */
  get before(): number | undefined {
    return this.#lock.before;
  }

  /** Starts the heartbeat, which does not keep the process alive. @param every milliseconds, for tests */
  start(every?: number): void {
    this.#lock.start(every);
  }

  /** @throws RunTakenError if another process has taken the folder, for example while this one was suspended */
  check(): void {
    try {
      this.#lock.check();
    } catch (error) {
      throw error instanceof LockLostError ? new RunTakenError(this.#folder, error.owner) : error;
    }
  }

  /** Gives the folder back. */
  release(): void {
    this.#lock.release();
  }
}
