// A repository of the Hugging Face hub: its commits and files, asked for by the package @huggingface/hub.
import { isWhole } from "../../src/check.ts";
import { optionalPackage } from "../../src/packages.ts";
import { formatBytes, printable } from "../formats/text.ts";
import type { DownloadOptions, RemoteFile } from "./download.ts";
import { RemoteError } from "./errors.ts";
import { type HubName, isCommit, isSafePath } from "./names.ts";
import { bytesOf, get, pause, unexpected, Watch } from "./requests.ts";
import type { HubSettings } from "./settings.ts";

type AskOptions = Pick<DownloadOptions, "patience" | "signal" | "notice">;
type Hub = Pick<typeof import("@huggingface/hub"), "listFiles" | "modelInfo">;

/** A file in a listing. */
export interface ListedFile {
  readonly path: string;
  readonly size: number;
  /** The name of its content in the cache: SHA-256 of large files, git's hash of others. */
  readonly hash: string;
}

/** More files in a list, and more bytes in an answer, are not read, because both may be made without end. */
const maxFiles = 20_000, maxAnswer = 2 ** 26;

export class Repository {
  readonly #name: HubName;
  readonly #settings: HubSettings;
  readonly #options: AskOptions;

  constructor(name: HubName, settings: HubSettings, options: AskOptions) {
    this.#name = name;
    this.#settings = settings;
    this.#options = options;
  }

  /** The commit of the revision. @throws RemoteError */
  async commit(): Promise<string> {
    const { repo, revision } = this.#name;
    const { sha } = await this.#ask((hub, options) =>
      hub.modelInfo({ name: repo, revision, additionalFields: ["sha"], ...options })
    );
    if (typeof sha === "string" && isCommit(sha)) return sha;
    throw this.#malformed("names no commit");
  }

  /** All files of a commit. @throws RemoteError */
  async files(commit: string): Promise<ListedFile[]> {
    return await this.#ask(async (hub, options) => {
      const found: ListedFile[] = [];
      for await (
        const { type, path, size, oid, lfs } of hub.listFiles({
          repo: this.#name.repo,
          revision: commit,
          recursive: true,
          ...options,
        })
      ) {
        const hash = lfs?.oid ?? oid, length = lfs?.size ?? size;
        if (type !== "file") continue;
        if (
          typeof path !== "string" || !/^([0-9a-f]{40}|[0-9a-f]{64})$/.test(`${hash}`) ||
          !isWhole(length)
        ) {
          throw this.#malformed("lists a file without name, size or hash");
        }
        if (isSafePath(path)) found.push({ path, size: length, hash: hash! });
        if (found.length > maxFiles) throw this.#malformed(`lists more than ${maxFiles} files`);
      }
      return found;
    });
  }

  /** A file of a commit, to be downloaded. */
  file(commit: string, { path, size, hash }: ListedFile): RemoteFile {
    const { endpoint } = this.#settings, { repo } = this.#name;
    return {
      text: `${printable(path)} of hf:${repo}`,
      url: new URL(
        `${endpoint}/${repo}/resolve/${commit}/${path.split("/").map(encodeURIComponent).join("/")}`,
      ),
      headers: this.#headers(),
      size,
      hash: { kind: hash.length === 64 ? "sha256" : "git", hex: hash },
      ifSame: {}, // a commit never changes
      refused: (response) => this.#refused(response, path),
    };
  }

  #headers(): Record<string, string> {
    const { token } = this.#settings;
    return token === null ? {} : { authorization: `Bearer ${token}` };
  }

  /** Asks by the package, a few times if the hub is busy. */
  async #ask<T>(use: (hub: Hub, options: { hubUrl: string; fetch: typeof fetch }) => Promise<T>): Promise<T> {
    const { patience, signal, notice } = this.#options;
    const hub = await optionalPackage<Hub>("@huggingface/hub", this.#name.text);
    for (let failures = 0;;) {
      try {
        return await use(hub, { hubUrl: this.#settings.endpoint, fetch: this.#fetch });
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof RemoteError)) throw this.#strange(error);
        const wait = Math.max((error.retryAfter ?? 0) * 1000, patience.pauses[failures++]);
        if (error.status === null || wait > patience.longest || failures > 2) throw error;
        if (wait > 2000) notice?.(`${error.problem}; asking again in ${Math.ceil(wait / 1000)} s`);
        await pause(wait, signal);
      }
    }
  }

  /** What the package calls instead of `fetch`. The answer is read here, because the package does not watch for silence. */
  readonly #fetch = async (input: string | URL | Request): Promise<Response> => {
    const url = new URL(input instanceof Request ? input.url : input);
    const isOwn = url.origin === new URL(this.#settings.endpoint).origin; // a listing may lead elsewhere
    const watch = new Watch(this.#options.patience.question, this.#options.signal);
    try {
      const response = await get(url, isOwn ? this.#headers() : {}, watch);
      if (!response.ok) {
        await response.body?.cancel();
        throw this.#refused(response, null);
      }
      const chunks: Uint8Array[] = [];
      let length = 0;
      for await (const chunk of bytesOf(response, watch, url.host)) {
        chunks.push(chunk);
        length += chunk.length;
        if (length > maxAnswer) throw this.#malformed(`has more than ${formatBytes(maxAnswer)}`);
      }
      const { status, headers } = response;
      return new Response(new Blob(chunks as BlobPart[]), { status, headers });
    } finally {
      watch.end();
    }
  };

  /** Returns the error for an answer. @param path the file that was asked for */
  #refused(response: Response, path: string | null): RemoteError {
    const { repo, revision, text } = this.#name, { endpoint, token } = this.#settings;
    const { status, headers } = response, code = headers.get("x-error-code"), page = `${endpoint}/${repo}`;
    const address = new URL(response.url || endpoint), server = printable(address.host);
    if (path !== null && address.origin !== new URL(endpoint).origin && status < 500) {
      // the address that the hub leads to may have expired; the next request gets a new one
      return new RemoteError(`${server} refuses the file (${status})`, "try again later", {
        isPassing: true,
      });
    }
    if (status === 401 && token !== null && /invalid/i.test(headers.get("x-error-message") ?? "")) {
      const advice = "set HF_TOKEN to a valid one, or unset it";
      return new RemoteError(`${text}: the hub does not accept the token`, advice);
    }
    if (code === "GatedRepo" || status === 403) {
      const advice = token === null
        ? `accept the conditions at ${page}, and set HF_TOKEN to a token of yours (${endpoint}/settings/tokens)`
        : `accept the conditions at ${page} with the account of the token, which must be allowed to read it`;
      return new RemoteError(`${text}: the hub refuses access (${status})`, advice);
    }
    if (code === "RevisionNotFound") {
      const problem = `${text}: the repository has no revision ${printable(revision)}`;
      return new RemoteError(problem, "leave out the part after @ for the newest", { isMissing: true });
    }
    if (code === "EntryNotFound" && path !== null) {
      const problem = `${text}: the hub has no ${printable(path)}`;
      return new RemoteError(problem, `see ${page}/tree/main`, { isMissing: true });
    }
    if (status === 401 || status === 404) {
      const why = token === null ? ", or it is private" : " that the token may read";
      const problem = `${text}: ${server} has no repository ${repo}${why}`;
      return new RemoteError(problem, `check the name${token === null ? ", or set HF_TOKEN" : ""}`);
    }
    return unexpected(response, server, text);
  }

  #malformed(what: string): RemoteError {
    const problem = `${this.#name.text}: the answer of ${this.#settings.endpoint} ${what}`;
    return new RemoteError(problem, "check HF_ENDPOINT and the connection");
  }

  /** Returns the error for one that the package ends with when the answer is not what it expects. */
  #strange(error: unknown): unknown {
    const isOurs = error instanceof SyntaxError || error instanceof TypeError;
    return isOurs ? this.#malformed("is not one of a hub") : error;
  }
}
