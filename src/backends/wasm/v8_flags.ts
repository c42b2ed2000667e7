// The flags of V8 that the kernels profit from, and whether this process was started with them.
import { variable } from "../../environment.ts";

const revectorize = "--experimental-wasm-revectorize";

/**
 * The flags that let V8 join two vectors of 128 bits into one of 256, which it does only where no bounds check lies between
 * them. Deno's V8 checks each access in code, so Deno needs a second flag. Node's V8 leaves the checks to the processor
 * and stays as safe as it was. The list is empty where there are no such flags: in Bun, in web pages, and on ARM.
 */
export const WIDE_FLAGS: readonly string[] = wideFlags();

function wideFlags(): readonly string[] {
  const { arch, versions } = globalThis.process ?? {};
  if (arch !== "x64" || versions.bun) return [];
  return versions.deno ? [revectorize, "--no-wasm-bounds-checks"] : [revectorize];
}

/** Whether this process has these flags. They have no effect on code that was compiled before they were set. */
export function hasWideFlags(): boolean {
  const given = [variable("DENO_V8_FLAGS") ?? "", ...globalThis.process?.execArgv ?? []].join(",").split(",");
  return WIDE_FLAGS.length > 0 && WIDE_FLAGS.every((flag) => given.includes(flag));
}
