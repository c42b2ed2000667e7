// Work that may be stopped at any time, because everything that matters is on the disk.
import process from "node:process";
import { RankStoppedError } from "../train/index.ts";
import { listenForInterrupt } from "./interrupt.ts";
import { say } from "./output.ts";
import { closeRanks, commonCode } from "./ranks.ts";

/** Ends a command that was stopped. The message says what is kept and how to go on. */
export class Interrupted extends Error {
  override readonly name = "Interrupted";
  /** The exit code. */
  readonly code: number;

  constructor(message: string, code: number) {
    super(message);
    this.code = code;
  }
}

/** Milliseconds after which a command that was told to stop is ended. */
const patience = 1500;

/**
 * Runs work that stops soon after its signal is aborted.
 * @param message returns what to say when it was stopped
 * @param body where there are several ranks, it must stop on all of them
 * @throws Interrupted if it was stopped
 */
export async function stoppable<T>(
  message: () => string,
  body: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const interrupt = listenForInterrupt(() => {
    timer = setTimeout(() => { // something does not look at the signal, such as the decoder of a large picture
      say(message());
      process.exit(interrupt.code);
    }, patience);
  });
  const { signal } = interrupt;
  try {
    return await body(signal);
  } catch (error) {
    if (error !== signal.reason && !(error instanceof RankStoppedError)) throw error;
    if (interrupt.error !== undefined) throw interrupt.error;
    const code = await commonCode(interrupt);
    await closeRanks();
    throw new Interrupted(message(), code);
  } finally {
    clearTimeout(timer);
    interrupt.dispose();
  }
}
