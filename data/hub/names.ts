// The names of checkpoints on the network: hf:owner/name, with a revision and a path if wanted, and web addresses.
import { isRemote } from "../formats/opener.ts";
import { printable } from "../formats/text.ts";

/** A checkpoint in a repository of the Hugging Face hub. */
export interface HubName {
  readonly kind: "hub";
  /** As messages show it. */
  readonly text: string;
  /** The repository, such as boris/vqgan_f16_16384. */
  readonly repo: string;
  /** A branch, a tag or a commit. */
  readonly revision: string;
  /** A file or a folder in the repository; null if Tessera chooses. */
  readonly path: string | null;
}

/** A checkpoint at a web address. */
export interface WebName {
  readonly kind: "web";
  readonly text: string;
  readonly url: URL;
}

const form = "write hf:owner/name, hf:owner/name@revision or hf:owner/name/path/in/repository";

/** Whether a revision is a commit, which never changes. */
export const isCommit = (revision: string): boolean => /^[0-9a-f]{40}$/.test(revision);

/**
 * Parses a name. Addresses of pages and files of the hub become names of the hub, so that they share its cache.
 * @param endpoint the address of the hub
 * @throws if the name is malformed
 */
export function parseName(text: string, endpoint: string): HubName | WebName {
  if (!isRemote(text)) throw new Error(`${printable(text)}: this is a path and not a name`);
  if (/^hf:/i.test(text)) return hubName(text, text.replace(/^hf:(\/\/)?(models\/)?/i, ""));
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw new Error(`${printable(text)}: this is not a web address; check how it is written`);
  }
  if (url.username !== "" || url.password !== "") {
    throw new Error(
      `${url.host}: addresses with a password are not supported; download the file and give its path`,
    );
  }
  url.hash = "";
  const page = pageOfHub(url, endpoint);
  // what stands after the question mark is often a secret
  const shown = printable(url.origin + url.pathname) + (url.search === "" ? "" : "?...");
  return page === null ? { kind: "web", text: shown, url } : hubName(text, page);
}

/** @param rest owner/name, with a revision and a path if wanted */
function hubName(text: string, rest: string): HubName {
  const bad = (why: string): Error => new Error(`${printable(text)}: ${why}; ${form}`);
  if (/^(datasets|spaces|kernels|buckets)\//.test(rest)) throw bad("only repositories of models can be read");
  const parts = /^([^/@]*)\/([^/@]*)(?:@(refs\/(?:pr\/\d+|convert\/[\w.-]+)|[^/]*))?(?:\/(.*))?$/s.exec(rest);
  if (parts === null) throw bad("this names no repository");
  const [, owner, name, encoded, path] = parts;
  for (const part of [owner, name]) {
    if (!/^[\w.-]{1,96}$/.test(part) || /^[.-]|[.-]$|--|\.\.|\.git$/.test(part)) {
      throw bad(`"${printable(part)}" cannot be the name of an owner or a repository`);
    }
  }
  const revision = encoded === undefined ? "main" : decoded(encoded);
  if (!isSafePath(revision)) throw bad(`"${printable(revision)}" cannot be a revision`);
  const within = path === undefined ? "" : path.replace(/\/$/, "");
  if (within !== "" && !isSafePath(within)) {
    throw bad(`"${printable(within)}" cannot be a path in a repository`);
  }
  return { kind: "hub", text: printable(text), repo: `${owner}/${name}`, revision, path: within || null };
}

/**
 * Whether a path of a repository, or a revision, stays inside the folder that it is joined to, on every system. Repositories
 * that are made to do harm have names such as ../../.bashrc.
 */
export function isSafePath(path: string): boolean {
  if (path.length > 1000 || /[\\:\p{Cc}\p{Zl}\p{Zp}]/u.test(path)) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** Returns owner/name@revision/path if the address is a page or a file of a model on the hub, otherwise null. */
function pageOfHub(url: URL, endpoint: string): string | null {
  const { origin, pathname } = new URL(endpoint);
  const prefix = pathname.replace(/\/$/, "");
  const isOwn = url.origin === origin && url.pathname.startsWith(`${prefix}/`);
  if (!isOwn && !/^(www\.)?(huggingface\.co|hf\.co)$/.test(url.host)) return null;
  const [owner, name, route, revision, ...path] = (isOwn ? url.pathname.slice(prefix.length) : url.pathname)
    .split("/").filter((part) => part !== "");
  if (
    name === undefined || /^(datasets|spaces|kernels|buckets|api|docs|blog|papers|collections)$/.test(owner)
  ) {
    return null;
  }
  if (route === undefined || (route === "tree" && revision === undefined)) return `${owner}/${name}`;
  if (!/^(resolve|blob|raw|tree|blame)$/.test(route) || revision === undefined) return null;
  return [`${owner}/${name}@${revision}`, ...path.map(decoded)].join("/");
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
