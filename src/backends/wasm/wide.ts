// Vectors of 256 bits. WebAssembly's vectors have 128 bits, but V8 can join two that are neighbours in memory and go through
// the same instructions.
import { variable } from "../../environment.ts";

/** The flags with which `deno task fast` starts V8. */
export const WIDE_FLAGS = ["--experimental-wasm-revectorize", "--no-wasm-bounds-checks"];
/**
 * Whether V8 joins vectors (`deno task fast`). It can do so only without bounds checks between them. Leaving the checks out
 * is safe, because the memory spans everything that 32-bit addresses can reach.
 */
export const WIDE = "Deno" in globalThis && globalThis.process?.arch === "x64" &&
  WIDE_FLAGS.every((flag) => variable("DENO_V8_FLAGS")?.includes(flag));

/** Byte offsets of the vectors that a kernel treats together, and their size. Their stores must follow one another. */
export const ABREAST: readonly number[] = WIDE ? [0, 16] : [0];
export const ABREAST_BYTES = 16 * ABREAST.length;
