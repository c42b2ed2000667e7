// Fetches a checkpoint by its name and returns the path of a copy on this disk. Importing this file makes the names work
// wherever a checkpoint's path is taken.
import { formatOf } from "../formats/read.ts";
import { type OpenOptions, registerFetcher } from "../formats/opener.ts";
import { memorySource } from "../formats/source.ts";
import { formatBytes, printable } from "../formats/text.ts";
import { RepositoryCache } from "./cache.ts";
import { candidates, chooseFile, companionOf } from "./choose.ts";
import { download, type DownloadOptions } from "./download.ts";
import { RemoteError } from "./errors.ts";
import { type HubName, isCommit, parseName } from "./names.ts";
import { type Patience, patience as standard } from "./requests.ts";
import { type ListedFile, Repository } from "./repository.ts";
import { type HubSettings, hubSettings } from "./settings.ts";
import { fetchAddress } from "./web.ts";

registerFetcher((name, options) => fetchCheckpoint(name, options));

export interface FetchOptions extends OpenOptions {
  /** Called with lines for the user: which file was chosen, and what goes on. */
  readonly notice?: (line: string) => void;
  readonly patience?: Patience;
}

/**
 * Returns the path of a checkpoint on this disk. What is not in the cache yet is downloaded.
 * @param name hf:owner/name[@revision][/path], or a web address
 * @throws an error of one line that says what to do
 */
export async function fetchCheckpoint(name: string, options: FetchOptions = {}): Promise<string> {
  const { onProgress, signal, notice, patience = standard } = options;
  signal?.throwIfAborted();
  const settings = await hubSettings();
  const parsed = parseName(name, settings.endpoint);
  const inspect = async (head: Uint8Array, total: number) => {
    await formatOf({ ...memorySource(parsed.text, head), byteLength: total });
  };
  const loading: DownloadOptions = {
    onProgress: onProgress && ((bytes, total) => onProgress(bytes, total, "download")),
    signal,
    notice,
    inspect,
    patience,
    elsewhere: parsed.kind === "hub"
      ? "set HF_HUB_CACHE to a folder on another disk"
      : "set XDG_CACHE_HOME to a folder on another disk",
  };
  const path =
    await (parsed.kind === "hub" ? fromHub(parsed, settings, loading) : fetchAddress(parsed, loading));
  signal?.throwIfAborted();
  return path;
}

async function fromHub(name: HubName, settings: HubSettings, options: DownloadOptions): Promise<string> {
  const { notice } = options, { repo, revision, text, path } = name;
  const cache = new RepositoryCache(settings.cache, repo);
  if (isCommit(revision) && path !== null && await cache.has(revision, path)) {
    return cache.path(revision, path);
  }
  const absent = `${text} is not in ${printable(settings.cache)}`;
  if (settings.isOffline) {
    const kept = await inCache(name, cache);
    if (kept !== null) return kept;
    throw new Error(`${absent}, and HF_HUB_OFFLINE forbids to download it; unset it, or give a path`);
  }
  const repository = new Repository(name, settings, options);
  let commit: string, files: readonly ListedFile[];
  try {
    commit = isCommit(revision) ? revision : await repository.commit();
    files = await repository.files(commit);
  } catch (error) {
    if (!(error instanceof RemoteError) || error.isMissing) throw error;
    const kept = await inCache(name, cache);
    if (kept === null) {
      throw error.isPassing ? new RemoteError(`${absent}, and ${error.problem}`, error.advice) : error;
    }
    notice?.(`${error.problem}; using the copy in the cache`);
    return kept;
  }
  const chosen = chooseFile(name, files.map((file) => file.path)), companion = companionOf(chosen);
  const get = async (file: ListedFile, how: Partial<DownloadOptions>): Promise<void> => {
    const isReached = () => cache.has(commit, file.path, file.size);
    const settle = (isNew: boolean) => cache.link(commit, file.path, file.hash, isNew);
    if (await isReached()) return;
    const goal = { ...cache.blob(file.hash), isReached, settle };
    await download(repository.file(commit, file), goal, { ...options, ...how });
  };
  for (const file of files) {
    const isSmall = file.size < 1e6;
    if (file.path === companion && isSmall) await get(file, { onProgress: undefined, inspect: undefined });
  }
  for (const file of files) {
    if (file.path !== chosen) continue;
    const isThere = await cache.has(commit, chosen, file.size);
    const where = isThere ? "in the cache" : `${formatBytes(file.size)} to download`;
    notice?.(`${text} is ${printable(chosen)} of commit ${commit.slice(0, 7)}, ${where}`);
    await get(file, {});
  }
  await cache.remember(revision, commit);
  return cache.path(commit, chosen);
}

/** Returns the path of what was downloaded before, if there is anything that the name can mean. */
async function inCache(name: HubName, cache: RepositoryCache): Promise<string | null> {
  const commit = await cache.commitOf(name.revision);
  const files = commit === null ? [] : await cache.files(commit);
  if (commit === null || candidates(name, files).length === 0) return null;
  return cache.path(commit, chooseFile(name, files));
}
