// The formats of token files, which the endings of their names tell apart.
import { createHash } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { FormatError } from "../formats/source.ts";

export type TokenFormat = "parquet" | "jsonl" | "tsv";

/** @throws FormatError if the name has none of the three endings. */
export function tokenFormat(path: string): TokenFormat {
  const ending = path.toLowerCase().split(".").at(-1);
  if (ending === "parquet" || ending === "jsonl" || ending === "tsv") return ending;
  throw new FormatError(path, "token files end in .parquet, .jsonl or .tsv", "give it one of these endings");
}

/** The longest name of a file in bytes on most disks. */
const longestName = 255;

/** Returns the path of the journal of a token file: FILE.partial, or with a hash in a name that leaves no room for that. */
export const journalOf = (path: string): string => beside(path, ".partial");

/** Returns the path of the lock of a token file: FILE.lock, or with a hash. */
export const lockOf = (path: string): string => beside(path, ".lock");

function beside(path: string, ending: string): string {
  const name = basename(path), bytes = new TextEncoder().encode(name);
  if (bytes.length + ending.length <= longestName) return path + ending;
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 32);
  return join(dirname(path), hash + ending);
}
