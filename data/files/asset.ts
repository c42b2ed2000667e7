// Files that come with Tessera: they lie on the disk, or behind https where Tessera itself was loaded from there.
import { readFile } from "node:fs/promises";

/** Reads a file at the address that `new URL("name", import.meta.url)` gives. @throws if it cannot be had */
export async function readAsset(url: URL): Promise<Uint8Array<ArrayBuffer>> {
  if (url.protocol === "file:") return new Uint8Array(await readFile(url));
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server answers ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}
