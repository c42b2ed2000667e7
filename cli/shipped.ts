// Finds the small model of faces that comes with Tessera.
import { mkdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import deno from "../deno.json" with { type: "json" };
import { readAsset } from "../data/files/asset.ts";
import { writeAtomic } from "../data/files/atomic.ts";

/**
 * Returns the path of the model. If Tessera itself was loaded over https, the model is downloaded once into the user's
 * cache folder.
 */
export async function shippedModel(): Promise<string> {
  const url = new URL("../models/faces.safetensors", import.meta.url);
  if (url.protocol === "file:") return fileURLToPath(url);
  const { XDG_CACHE_HOME, LOCALAPPDATA } = process.env;
  const caches = XDG_CACHE_HOME ?? LOCALAPPDATA ?? join(homedir(), ".cache");
  const path = join(caches, "tessera", deno.version, "faces.safetensors");
  if (await stat(path).catch(() => null) === null) {
    const bytes = await readAsset(url);
    await mkdir(dirname(path), { recursive: true });
    await writeAtomic(path, (file) => file.writeFile(bytes));
  }
  return path;
}
