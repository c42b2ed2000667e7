// Replaces this process by a new one with the same command line, by execv of Linux's C library. Process id, terminal,
// streams, signals and parent stay what they are, so nothing has to be passed on and no child can be left behind.

/** The part of Deno's namespace that calls C functions. */
interface Deno {
  dlopen(path: string, functions: object): {
    readonly symbols: Record<"open" | "read" | "execv", (...args: unknown[]) => number | bigint>;
  };
  readonly UnsafePointer: { of(bytes: Uint8Array): object; value(pointer: object): bigint };
}

/** The C library of Linux. */
export const libc = "libc.so.6";

/** More than the words of a command line can have on Linux (6 MiB). */
const mostBytes = 8 * 2 ** 20;
/** O_RDONLY | O_CLOEXEC */
const readOnly = 0o2000000;

const text = (words: string): Uint8Array => new TextEncoder().encode(`${words}\0`);

/**
 * Starts the program again. It gets the environment variables of this process as they are now. Needs Deno on Linux, with the
 * permission to call C functions of `libc`.
 * @returns only if it fails
 */
export function startAgain(program: string): void {
  const { Deno } = globalThis as unknown as { Deno: Deno };
  const { open, read, execv } = Deno.dlopen(libc, {
    open: { parameters: ["buffer", "i32"], result: "i32" },
    read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
    execv: { parameters: ["buffer", "buffer"], result: "i32" },
  }).symbols;

  // By C functions too, because Deno lets only programs with all permissions read below /proc.
  const words = new Uint8Array(mostBytes), file = open(text("/proc/self/cmdline"), readOnly);
  let length = 0;
  for (let got = 1; got > 0; length += got) {
    got = Math.max(0, Number(read(file, words.subarray(length), mostBytes - length)));
  }
  if (length === 0) return;

  const first = Deno.UnsafePointer.value(Deno.UnsafePointer.of(words)), pointers = [first];
  for (let i = 1; i < length; i++) if (words[i - 1] === 0) pointers.push(first + BigInt(i));
  execv(text(program), BigUint64Array.from([...pointers, 0n]));
}
