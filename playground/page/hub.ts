// Checkpoints by their names on the Hugging Face hub, or at web addresses, downloaded by the page itself.
/// <reference lib="dom" />
import { chooseFile } from "../../data/hub/choose.ts";
import { type HubName, isCommit, parseName } from "../../data/hub/names.ts";
import { fetchBlob, type FetchOptions, reach } from "./fetch_blob.ts";

/** The cache of the browser with what was downloaded from the hub. Each file is kept under its commit, so it never goes stale. */
const kept = "tessera-models";

/** The address of the hub. A mirror is named in the address of the page: ?hub=https://mirror.example */
const endpoint = (new URL(location.href).searchParams.get("hub") ?? "https://huggingface.co").replace(
  /\/+$/,
  "",
);

/** A checkpoint that was downloaded. */
export interface Downloaded {
  readonly name: string;
  readonly file: Blob;
}

/**
 * Downloads the checkpoint that a name means, unless the browser still has it.
 * @param name hf:owner/name[@revision][/path], the same without hf:, or a web address
 * @throws an error in words
 */
export async function downloadModel(name: string, options: FetchOptions): Promise<Downloaded> {
  const parsed = parseName(/^(hf:|https?:\/\/)/i.test(name) ? name : `hf:${name}`, endpoint);
  if (parsed.kind === "web") return { name: parsed.text, file: await fetchBlob(parsed.url.href, options) };
  const { sha, siblings } = await repositoryOf(parsed, options.signal);
  const path = chooseFile(parsed, siblings.map(({ rfilename }) => rfilename));
  const encoded = path.split("/").map(encodeURIComponent).join("/");
  const file = await keptBlob(`${endpoint}/${parsed.repo}/resolve/${sha}/${encoded}`, options);
  return { name: `${parsed.text} (${path})`, file };
}

/** The part of the hub's answer that is used here. */
interface Repository {
  readonly sha: string;
  readonly siblings: readonly { readonly rfilename: string }[];
}

async function repositoryOf({ repo, revision, text }: HubName, signal?: AbortSignal): Promise<Repository> {
  const response = await reach(
    `${endpoint}/api/models/${repo}/revision/${encodeURIComponent(revision)}`,
    signal,
  );
  if (!response.ok) throw new Error(refusal(response, repo, text));
  const answer = await response.json().catch(() => null) as Partial<Repository> | null;
  const { sha, siblings } = answer ?? {};
  const isList = Array.isArray(siblings) && siblings.every((file) => typeof file?.rfilename === "string");
  if (typeof sha !== "string" || !isCommit(sha) || !isList) {
    throw new Error(`${text}: the answer is not one of a hub`);
  }
  return { sha, siblings: siblings as Repository["siblings"] };
}

function refusal({ status, headers }: Response, repo: string, text: string): string {
  const page = `${endpoint}/${repo}`;
  if (headers.get("x-error-code") === "RevisionNotFound") {
    return `${text}: the repository has no such revision`;
  }
  if (headers.get("x-error-code") === "GatedRepo" || status === 403) {
    return `${text}: the hub wants its conditions accepted; do so at ${page}, download the file there, and drop it here`;
  }
  if (status === 401 || status === 404) {
    return `${text}: there is no repository ${repo}, or it is private; check the name`;
  }
  return `${text}: the hub answers ${status}; try again later`;
}

async function keptBlob(address: string, options: FetchOptions): Promise<Blob> {
  const cache = "caches" in globalThis ? await caches.open(kept) : null; // only secure addresses have it
  const found = await cache?.match(address);
  if (found) return await found.blob();
  const blob = await fetchBlob(address, options);
  await cache?.put(address, new Response(blob)).catch(() => {}); // no room: it will be downloaded again
  return blob;
}
