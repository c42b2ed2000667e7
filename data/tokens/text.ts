// Token files as text. A file of JSON lines has the header, then one record per line. A file of tab-separated values
// has "# " and the header as JSON, then the names of the columns, then one row per picture with the tokens as
// "[1,2,3]". Its cells are quoted as RFC 4180 describes for CSV.
import type { FileHandle } from "node:fs/promises";
import { FormatError } from "../formats/source.ts";
import { linesOf } from "../files/lines.ts";
import {
  checkHeader,
  type OpenTokensOptions,
  type TokenFile,
  type TokenHeader,
  type TokenRecord,
  toRecord,
} from "./record.ts";

/** One record as a JSON line, with its grid only if the header has none for all records. */
export function toJsonLine({ file, caption, encoding, grid }: TokenRecord, header: TokenHeader): string {
  return JSON.stringify(header.grid ? { file, caption, encoding } : { file, caption, encoding, grid });
}

/** @throws FormatError if the file is missing or its first line is not JSON. */
export async function openJsonLines(path: string, options: OpenTokensOptions = {}): Promise<TokenFile> {
  const first = await firstLine(path);
  const value = first === null ? {} : parseObject(path, 1, first);
  const header = value.format === undefined ? null : checkHeader(path, value);
  return {
    header,
    async *records() {
      for await (const { text, number } of linesOf(path)) {
        if (text.trim() === "" || (number === 1 && header)) continue;
        yield toRecord(path, `line ${number}`, parseObject(path, number, text), header, options);
      }
    },
  };
}

async function firstLine(path: string): Promise<string | null> {
  for await (const { text } of linesOf(path)) return text;
  return null;
}

function parseObject(path: string, number: number, text: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // reported below
  }
  throw new FormatError(
    path,
    `line ${number}: this is not a JSON object`,
    "a file written by tessera encode is expected",
  );
}

/** Writes all records as tab-separated values. pandas: `read_csv(path, sep="\t", skiprows=1)`. */
export async function writeTsv(
  file: FileHandle,
  header: TokenHeader,
  records: AsyncIterable<TokenRecord>,
): Promise<void> {
  const columns = ["file", "caption", "encoding", ...(header.grid ? [] : ["grid"])];
  await file.writeFile(`# ${JSON.stringify(header)}\n${columns.join("\t")}\n`);
  for await (const { file: name, caption, encoding, grid } of records) {
    const cells = [quoted(name), caption === null ? "" : quoted(caption), JSON.stringify(encoding)];
    if (!header.grid) cells.push(JSON.stringify(grid));
    await file.writeFile(cells.join("\t") + "\n");
  }
}

/** An empty caption is quoted, so that it differs from a missing one. */
function quoted(cell: string): string {
  return /[\t\r\n"]/.test(cell) || cell === "" ? `"${cell.replaceAll('"', '""')}"` : cell;
}

/** @throws FormatError if the file is missing or has no column `encoding`. */
export async function openTsv(path: string, options: OpenTokensOptions = {}): Promise<TokenFile> {
  let header: TokenHeader | null = null, columns: string[] = [];
  for await (const { cells, number, text } of rowsOf(path)) {
    if (number === 1 && text.startsWith("# {")) {
      header = checkHeader(path, parseObject(path, 1, text.slice(2)));
    } else {
      columns = cells.map((cell) => cell ?? "");
      break;
    }
  }
  if (!columns.includes("encoding")) {
    throw new FormatError(path, "it has no column encoding", "its first row must name the columns");
  }
  return {
    header,
    async *records() {
      const skipped = header ? 2 : 1;
      let row = 0;
      for await (const { cells, number, text } of rowsOf(path)) {
        if (++row <= skipped || text.trim() === "") continue;
        const entries = columns.map((column, i) => [column, cells[i] ?? undefined]);
        yield toRecord(path, `line ${number}`, Object.fromEntries(entries), header, options);
      }
    },
  };
}

/** Yields rows with their cells. A quoted cell may contain line ends; an empty cell without quotes is null. */
async function* rowsOf(
  path: string,
): AsyncGenerator<{ cells: (string | null)[]; number: number; text: string }> {
  let row = "", start = 0;
  for await (const { text, number } of linesOf(path)) {
    if (row === "") start = number;
    row = row === "" ? text : `${row}\n${text}`;
    const cells = number === 1 && text.startsWith("# ") ? [] : cellsOf(row);
    if (cells === null) {
      if (row.length > 2 ** 24) throw new FormatError(path, `line ${start}: a quoted cell never ends`);
      continue;
    }
    yield { cells, number: start, text: row };
    row = "";
  }
  if (row !== "") throw new FormatError(path, `line ${start}: a quoted cell never ends`);
}

/** Returns the cells of a row; null if the last one is quoted and continues on the next line. */
function cellsOf(row: string): (string | null)[] | null {
  const cells: (string | null)[] = [];
  for (let at = 0; at <= row.length;) {
    if (row[at] === '"') {
      let end = at + 1;
      while (end < row.length && (row[end] !== '"' || row[end + 1] === '"')) end += row[end] === '"' ? 2 : 1;
      if (end >= row.length) return null;
      cells.push(row.slice(at + 1, end).replaceAll('""', '"'));
      at = end + 2; // skips the closing quote and the tab, which follows directly in a valid file
    } else {
      const end = row.indexOf("\t", at) < 0 ? row.length : row.indexOf("\t", at);
      cells.push(end === at ? null : row.slice(at, end));
      at = end + 1;
    }
  }
  return cells;
}
