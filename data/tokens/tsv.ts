// Reads rows of tab-separated values, whose cells are quoted as RFC 4180 describes for CSV. Each character is looked at once.
import { checkText, linesOf } from "../files/lines.ts";
import { FormatError } from "../formats/source.ts";

/** A row with its cells. An empty cell without quotes is null. */
export interface TsvRow {
  readonly cells: readonly (string | null)[];
  /** The number of its first line. */
  readonly number: number;
  /** The first line if it begins with "# "; it has no cells. */
  readonly comment: string | null;
  readonly isBlank: boolean;
}

/** The longest row, in characters. It limits what is read of a quoted cell that never ends. */
const maxRow = 2 ** 24;

/** Yields the rows of a file. @throws FormatError naming the line that is not valid */
export async function* tsvRows(path: string): AsyncGenerator<TsvRow> {
  let row: Row | null = null;
  for await (const lines of linesOf(path)) {
    for (const line of lines) {
      const { number } = line, text = checkText(path, line);
      if (number === 1 && text.startsWith("# ")) {
        yield { cells: [], number, comment: text, isBlank: false };
        continue;
      }
      row ??= new Row(path, number);
      if (!row.add(text)) continue;
      yield { cells: row.cells, number: row.number, comment: null, isBlank: text.trim() === "" };
      row = null;
    }
  }
  row?.fail("a quoted cell never ends");
}

/** A row that is read line by line, because a quoted cell may contain line ends. */
class Row {
  readonly cells: (string | null)[] = [];
  readonly number: number;
  readonly #path: string;
  /** The parts of a quoted cell that has not ended yet. */
  #quoted: string[] | null = null;
  #length = 0;

  constructor(path: string, number: number) {
    this.#path = path;
    this.number = number;
  }

  fail(problem: string): never {
    throw new FormatError(this.#path, `line ${this.number}: ${problem}`, "check its quotes");
  }

  /** Adds a line. @returns whether the row ends with it */
  add(text: string): boolean {
    this.#length += text.length + 1;
    if (this.#length > maxRow) this.fail("a quoted cell never ends");
    this.#quoted?.push("\n");
    for (let at = 0;;) {
      if (this.#quoted === null && text[at] === '"') {
        this.#quoted = [];
        at++;
      }
      const end = this.#quoted === null ? this.#plain(text, at) : this.#endOfQuoted(text, at);
      if (end < 0) return false;
      if (end >= text.length) return true;
      at = end + 1;
    }
  }

  /** Reads a cell without quotes. @returns where it ends */
  #plain(text: string, from: number): number {
    const tab = text.indexOf("\t", from), end = tab < 0 ? text.length : tab;
    const cell = text.slice(from, end), own = tab < 0 ? cell.replace(/\r$/, "") : cell;
    this.cells.push(own === "" ? null : own);
    return end;
  }

  /** Reads a quoted cell from after its first quote on. @returns where it ends; -1 if it does not end in this line */
  #endOfQuoted(text: string, from: number): number {
    const parts = this.#quoted!;
    for (let at = from;;) {
      const end = text.indexOf('"', at);
      parts.push(text.slice(at, end < 0 ? text.length : end));
      if (end < 0) return -1;
      if (text[end + 1] !== '"') {
        const rest = text.slice(end + 1, end + 3);
        if (!/^(\t|\r?$)/.test(rest)) this.fail("a quoted cell is followed by text without a tab");
        this.cells.push(parts.join(""));
        this.#quoted = null;
        return rest.startsWith("\t") ? end + 1 : text.length;
      }
      parts.push('"');
      at = end + 2;
    }
  }
}
