// What is there already when a token file is written: the journal of a call that was stopped, or a finished file.
import { lstat, truncate } from "node:fs/promises";
import { writeError } from "../files/atomic.ts";
import { FileExistsError } from "../files/exists.ts";
import { type Line, linesOf } from "../files/lines.ts";
import { checkRegular } from "../files/source.ts";
import { parseJson, record } from "../formats/json.ts";
import { FormatError } from "../formats/source.ts";
import { openTokens } from "./open.ts";
import type { TokenFile, TokenHeader } from "./record.ts";
import { openJsonLines } from "./text.ts";

/** A file whose records are kept. */
export interface Kept extends TokenFile {
  /** What its header should be from now on: its own, with the sources of now. */
  readonly header: TokenHeader;
  /** Whether its own header says the same. */
  readonly isCurrent: boolean;
}

/**
 * Opens a journal: everything before the first line that is cut off or broken, for example by a power cut. The rest is
 * removed.
 * @param replace whether a journal with another header is emptied
 * @returns null if there is none, or nothing in it
 */
export async function recover(
  partial: string,
  header: TokenHeader,
  replace: boolean,
): Promise<Kept & { size: number } | null> {
  if (await lstat(partial).catch(() => null) === null) return null;
  await checkRegular(partial); // opening a pipe would wait forever
  let size = 0, found: TokenHeader | null = null;
  for await (const { text, number, end, isWhole } of eachLine(partial)) {
    const value = isWhole && text !== null ? parsed(text) : null;
    if (value === null) break;
    if (number === 1) {
      found = value as unknown as TokenHeader;
      const other = difference(found, header);
      if (other !== null && replace) break;
      if (other !== null) {
        const wayOut = "begin it with the same settings, delete it, or write to another file";
        throw new FormatError(partial, `it was begun with other settings (${other})`, wayOut);
      }
    }
    size = end;
  }
  await truncate(partial, size).catch((error: unknown) => {
    throw writeError(partial, error);
  });
  if (found === null || size === 0) return null;
  const model = typeof found.model === "string" ? found.model : header.model;
  const isCurrent = `${found.source}` === `${header.source}`;
  return { header: { ...header, model }, isCurrent, size, records: (await openJsonLines(partial)).records };
}

/**
 * Opens a file that was finished before.
 * @returns null if there is none
 * @throws FileExistsError if it cannot be continued
 */
export async function openFinished(path: string, header: TokenHeader): Promise<Kept | null> {
  const there = await lstat(path).catch(() => null);
  if (there === null || (there.isFile() && there.size === 0)) return null;
  const { header: found, records } = await openTokens(path).catch((error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error);
    throw new FileExistsError(path, `it exists already and is no token file (${reason})`);
  });
  if (found === null) throw new FileExistsError(path, "it exists already, and another program made it");
  const other = difference(found, header);
  if (other !== null) {
    throw new FileExistsError(path, `it exists already, made with other settings (${other})`);
  }
  return { header: { ...found, source: header.source }, isCurrent: true, records };
}

async function* eachLine(path: string): AsyncGenerator<Line> {
  for await (const lines of linesOf(path)) yield* lines;
}

function parsed(text: string): Readonly<Record<string, unknown>> | null {
  try {
    return record(parseJson(text));
  } catch {
    return null;
  }
}

/** Says in which field two headers differ, such as "range unit, now signed"; null if they do not. */
function difference(before: TokenHeader, now: TokenHeader): string | null {
  const found = firstDifference(before, now);
  return found && `${found.field} ${found.before}, now ${found.now}`;
}

/**
 * Finds the first field in which two headers differ. The name of a model's file does not matter. There may be more sources now
 * than before, such as new archives.
 * @returns the field and its values in words; null if there is none
 */
export function firstDifference(
  before: TokenHeader,
  now: TokenHeader,
): { readonly field: string; readonly before: string; readonly now: string } | null {
  const [old, wanted] = [before, now].map((header) => header as unknown as Record<string, unknown>);
  const show = (value: unknown) => JSON.stringify(value)?.replaceAll('"', "") ?? "nothing";
  if (before.weights !== now.weights) {
    return { field: "the weights", before: `of ${before.model}`, now: `of ${now.model}` };
  }
  const sources = new Set(now.source), names = new Set([...Object.keys(wanted), ...Object.keys(old)]);
  const isMore = Array.isArray(before.source) && before.source.every((source) => sources.has(source));
  const isSame = (field: string) => field === "source" && isMore || show(old[field]) === show(wanted[field]);
  const field = [...names].find((field) => field !== "model" && !isSame(field));
  return field === undefined
    ? null
    : { field, before: short(show(old[field])), now: short(show(wanted[field])) };
}

/** A corpus may have thousands of sources. */
const short = (text: string) => text.length <= 200 ? text : `${text.slice(0, 200)}...`;
