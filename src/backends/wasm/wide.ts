// Vectors of 256 bits. WebAssembly's have 128, but V8 can join two that lie side by side and are treated alike.
import { variable } from "../../environment.ts";

/** What `deno task fast` starts V8 with. */
export const WIDE_FLAGS = ["--experimental-wasm-revectorize", "--no-wasm-bounds-checks"];
/**
 * Whether V8 was asked to do so (`deno task fast`). It can only join vectors without a bounds check in between. Leaving the
 * checks out is safe, since the memory is all that 32-bit addresses can reach.
 */
export const WIDE = "Deno" in globalThis && globalThis.process?.arch === "x64" &&
  WIDE_FLAGS.every((flag) => variable("DENO_V8_FLAGS")?.includes(flag));

/** Byte offsets of the vectors that a kernel treats together, and their bytes. Their stores must follow one another. */
export const ABREAST: readonly number[] = WIDE ? [0, 16] : [0];
export const ABREAST_BYTES = 16 * ABREAST.length;
