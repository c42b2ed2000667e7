// Fetches a file, and says how far it is.
/// <reference lib="dom" />

/** How a download is watched and stopped. */
export interface FetchOptions {
  /** Called with the share that has come, if the server says how large the file is. */
  readonly onShare?: (share: number) => void;
  readonly signal?: AbortSignal;
}

/** @throws if the server cannot be reached or does not have the file, or if it was stopped */
export async function fetchBlob(address: string, { onShare, signal }: FetchOptions = {}): Promise<Blob> {
  const response = await reach(address, signal);
  if (!response.ok) throw new Error(`${address} cannot be fetched: the server answers ${response.status}`);
  const total = Number(response.headers.get("content-length")), parts: Blob[] = [];
  let length = 0;
  for (const reader = response.body!.getReader();;) {
    const { done, value } = await reader.read();
    if (done) return new Blob(parts);
    parts.push(new Blob([value])); // the browser may keep large ones on the disk
    length += value.length;
    if (total > 0) onShare?.(Math.min(1, length / total));
  }
}

/** `fetch` with an error that says what was asked, and why it may fail. */
export async function reach(address: string, signal?: AbortSignal): Promise<Response> {
  try {
    return await fetch(address, { signal });
  } catch (error) {
    if (signal?.aborted) throw new Error("stopped");
    const { host } = new URL(address, location.href), why = error instanceof Error ? error.message : error;
    throw new Error(
      `${host} cannot be reached, or does not let pages of other sites read ${address} (${why})`,
    );
  }
}
