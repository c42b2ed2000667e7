// Fetches a file, and says how far it is.
/// <reference lib="dom" />

/**
 * @param report called with the share that has come, if the server says how large the file is
 * @throws if the server cannot be reached or does not have the file
 */
export async function fetchBlob(address: string | URL, report: (share: number) => void): Promise<Blob> {
  const name = String(address);
  const response = await fetch(address).catch((error: unknown) => {
    throw new Error(`${name} cannot be fetched (${error instanceof Error ? error.message : error})`);
  });
  if (!response.ok) throw new Error(`${name} cannot be fetched: the server says ${response.status}`);
  const total = Number(response.headers.get("content-length")), parts: Blob[] = [];
  let length = 0;
  const reader = response.body!.getReader();
  while (true) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts);
    parts.push(new Blob([value])); // the browser may keep it on the disk
    length += value.length;
    if (total > 0) report(Math.min(1, length / total));
  }
}
