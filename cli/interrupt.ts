// Lets long work end in good order: at Ctrl-C and other signals (SIGUSR2 is a scheduler's warning that the time is nearly
// over), when nobody reads the output any more and, if asked for, after an error that nothing caught. A second Ctrl-C ends the
// process at once.
import { fstatSync, readFileSync, readSync } from "node:fs";
import process from "node:process";
import { isGranted } from "../src/environment.ts";

/** The exit code of an interrupted process, by the convention of shells: 128 + SIGINT. */
export const interruptedCode = 130;

/** The numbers of the signals that end work in good order. SIGHUP: the terminal or the SSH session was closed. */
const signals = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1, SIGUSR2: 12 } as const;
const SIGPIPE = 13;

/** Milliseconds within which a second SIGINT is the same Ctrl-C, which npm passes on to a process that the terminal tells too. */
const sameKey = 300;

/**
 * Whether SIGHUP is to be ignored. This is found out on import, because Deno takes the signal for itself a few tenths of a
 * second after its start, whether it was ignored or not.
 */
const ignoresHangup = isBelowNohup() || isIgnored(signals.SIGHUP);

/** How many listeners there are. */
let listening = 0;

/** Whether work is going on that ends in good order by itself. */
export function isInterruptible(): boolean {
  return listening > 0;
}

export interface Interrupt {
  /** Aborted when the work should end. */
  readonly signal: AbortSignal;
  /** The exit code of a process that ended for this reason: 128 and the number of the signal. */
  readonly code: number;
  /** The error that nothing caught, if this is the reason; else undefined. */
  readonly error: unknown;
  /** Stops to listen. */
  dispose(): void;
}

/**
 * Listens until `dispose` is called.
 * @param onFirst called when the work should end, to tell the user what happens next
 * @param catchErrors whether an error that nothing catches ends the work in good order too. The caller must then throw it.
 */
export function listenForInterrupt(onFirst: () => void, catchErrors = false): Interrupt {
  const controller = new AbortController();
  let code = interruptedCode, failure: unknown, since = 0;
  const stop = () => {
    if (controller.signal.aborted) return;
    since = performance.now();
    controller.abort();
    onFirst();
  };
  const listeners: [target: Emitter, event: string, listener: (error: unknown) => void][] = [];
  const on = (target: Emitter, event: string, listener: (error: unknown) => void) => {
    listeners.push([target, event, listener]);
    target.on(event, listener);
  };
  for (const [name, number] of Object.entries(signals)) {
    on(process, name, () => {
      if (name === "SIGHUP" && ignoresHangup) return;
      const isSecond = controller.signal.aborted && performance.now() - since > sameKey;
      // systems repeat the other signals by themselves
      if (name === "SIGINT" && isSecond) process.exit(interruptedCode);
      if (!controller.signal.aborted) code = 128 + number;
      stop();
    });
  }
  for (const event of catchErrors ? ["uncaughtException", "unhandledRejection"] : []) {
    on(process, event, (error) => {
      failure ??= error;
      stop();
    });
  }
  on(process.stdout, "error", (error) => {
    if (!isClosed(error)) return; // a full disk must not end the work
    if (!controller.signal.aborted) code = 128 + SIGPIPE;
    stop();
  });
  listening++;
  return {
    signal: controller.signal,
    get code() {
      return code;
    },
    get error() {
      return failure;
    },
    dispose: () => {
      listening--;
      for (const [target, event, listener] of listeners) target.off(event, listener);
    },
  };
}

interface Emitter {
  on(event: string, listener: (error: unknown) => void): unknown;
  off(event: string, listener: (error: unknown) => void): unknown;
}

/** Whether the error says that the reader of the output has gone. */
export function isClosed(error: unknown): boolean {
  const { code } = (error ?? {}) as { code?: string };
  return ["EPIPE", "EIO", "ERR_STREAM_DESTROYED"].includes(code ?? "");
}

/**
 * Whether `nohup` of Linux has started the process at a terminal: it replaces the terminal as the input by a /dev/null that
 * cannot be read. This is there to see at any time and with any permissions.
 */
function isBelowNohup(): boolean {
  const devNull = 0x103; // its device number
  try {
    if (process.platform !== "linux" || fstatSync(0).rdev !== devNull) return false;
    readSync(0, new Uint8Array(1), 0, 1, null);
    return false;
  } catch (error) {
    return (error as { code?: string }).code === "EBADF";
  }
}

/**
 * Whether the process was started so that it ignores a signal. Listening to it would undo that. Systems other than Linux do not
 * say; there `nohup` is what leaves a process without a terminal.
 */
function isIgnored(signal: number): boolean {
  const { stdin, stdout, stderr } = process, path = "/proc/self/status";
  if (process.platform !== "linux") return ![stdin, stdout, stderr].some(({ isTTY }) => isTTY);
  if (!isGranted({ name: "read" })) return false;
  try {
    const [, mask] = /^SigIgn:\s*([0-9a-f]+)$/m.exec(readFileSync(path, "utf8")) ?? [];
    return (BigInt(`0x${mask}`) >> BigInt(signal - 1) & 1n) === 1n;
  } catch {
    return false; // Deno lets only -A read this
  }
}
