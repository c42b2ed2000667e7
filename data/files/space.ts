// How much room a disk has.
import { statfs } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { isGranted } from "../../src/environment.ts";

/**
 * Returns the bytes that this user may still write on the disk of a folder, which need not exist yet; null if the system does
 * not say.
 */
export async function freeBytes(folder: string): Promise<number | null> {
  if (!isGranted({ name: "sys", kind: "statfs" })) return null; // Deno would ask the user
  for (let at = resolve(folder);; at = dirname(at)) {
    try {
      const { bavail, bsize, blocks } = await statfs(at);
      return blocks > 0 ? bavail * bsize : null; // some network disks report nothing but zeros
    } catch (error) {
      const isMissing = error instanceof Error && "code" in error && error.code === "ENOENT";
      if (!isMissing || dirname(at) === at) return null;
    }
  }
}
