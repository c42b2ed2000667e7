// Token files as text. A file of JSON lines has the header, then one record per line. A file of tab-separated values
// has "# " and the header as JSON, then the names of the columns, then one row per picture with the tokens as
// "[1,2,3]".
import type { FileHandle } from "node:fs/promises";
import { checkText, linesOf } from "../files/lines.ts";
import { parseJson, record } from "../formats/json.ts";
import { FormatError } from "../formats/source.ts";
import {
  checkHeader,
  type OpenTokensOptions,
  type TokenFile,
  type TokenHeader,
  type TokenRecord,
  toRecord,
} from "./record.ts";
import { tsvRows } from "./tsv.ts";

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
      for await (const lines of linesOf(path)) {
        for (const line of lines) {
          const { number } = line, text = checkText(path, line);
          if (text.trim() === "" || (number === 1 && header)) continue;
          yield toRecord(path, `line ${number}`, parseObject(path, number, text), header, options);
        }
      }
    },
  };
}

async function firstLine(path: string): Promise<string | null> {
  for await (const [line] of linesOf(path)) return checkText(path, line);
  return null;
}

function parseObject(path: string, number: number, text: string): Record<string, unknown> {
  const fail = (problem: string): never => {
    throw new FormatError(path, `line ${number}: ${problem}`, "a file written by tessera encode is expected");
  };
  try {
    return record(parseJson(text)) ?? fail("this is not a JSON object");
  } catch (error) {
    if (error instanceof FormatError) throw error;
    return fail(error instanceof Error ? error.message : String(error));
  }
}

/** Writes all records as JSON lines. */
export async function writeJsonLines(
  file: FileHandle,
  header: TokenHeader,
  records: AsyncIterable<TokenRecord>,
): Promise<void> {
  let lines = JSON.stringify(header) + "\n";
  for await (const record of records) {
    lines += toJsonLine(record, header) + "\n";
    if (lines.length < 2 ** 20) continue;
    await file.writeFile(lines);
    lines = "";
  }
  await file.writeFile(lines);
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
  for await (const { cells, number, comment } of tsvRows(path)) {
    if (comment === null) {
      columns = cells.map((cell) => cell ?? "");
      break;
    }
    if (comment.startsWith("# {")) header = checkHeader(path, parseObject(path, number, comment.slice(2)));
  }
  if (!columns.includes("encoding")) {
    throw new FormatError(path, "it has no column encoding", "its first row must name the columns");
  }
  const twice = columns.find((name, i) => columns.indexOf(name) !== i);
  if (twice !== undefined) {
    throw new FormatError(path, `it has two columns ${twice}`, "give each column another name");
  }
  return {
    header,
    async *records() {
      let isFirst = true;
      for await (const { cells, number, comment, isBlank } of tsvRows(path)) {
        if (comment !== null || isFirst || isBlank) {
          isFirst &&= comment !== null;
          continue;
        }
        if (cells.length > columns.length) {
          const problem =
            `line ${number}: it has ${cells.length} cells, but there are ${columns.length} columns`;
          throw new FormatError(path, problem, "quote cells that contain tabs");
        }
        const row = Object.fromEntries(columns.map((column, i) => [column, cells[i] ?? undefined]));
        yield toRecord(path, `line ${number}`, row, header, options);
      }
    },
  };
}
