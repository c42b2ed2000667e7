// Reads files that are part of Tessera: from the disk, or over https if Tessera itself was loaded that way.
import { readFile } from "node:fs/promises";

/** Reads the file at the address that `new URL("name", import.meta.url)` gives. @throws if it cannot be read */
export async function readAsset(url: URL): Promise<Uint8Array<ArrayBuffer>> {
  if (url.protocol === "file:") return new Uint8Array(await readFile(url));
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: the server returned ${response.status} ${response.statusText}`);
  return new Uint8Array(await response.arrayBuffer());
}
