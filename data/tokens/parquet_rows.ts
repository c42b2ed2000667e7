// Puts the rows of a Parquet file together from the pages of its columns.
import { type FileMetaData, parquetSchema, type RowGroup, type SchemaTree } from "hyparquet";
import { FormatError, type RandomAccess } from "../formats/source.ts";
import { type Column, columnAt, type Page, pagesOf } from "./parquet_page.ts";
import { expect } from "./parquet_footer.ts";

type Row = Readonly<Record<string, unknown>>;

/**
 * Finds a column by its name.
 * @param file the path in errors
 * @returns null if there is none
 * @throws FormatError if it is neither a plain value nor a list of them
 */
export function findColumn(file: string, metadata: FileMetaData, name: string): Column | null {
  const root = parquetSchema(metadata), path = [root];
  const found = root.children.filter(({ element }) => element.name === name);
  if (found.length === 0) return null;
  const fail = (problem: string): never => {
    throw new FormatError(file, problem, "store a text or a list of whole numbers in it");
  };
  if (found.length > 1) fail(`it has ${found.length} columns ${name}`);
  for (let node: SchemaTree | undefined = found[0]; node; node = node.children.at(0)) {
    if (node.children.length > 1) fail(`its column ${name} is a structure of several`);
    path.push(node);
  }
  const column = columnAt(path);
  if (column.maxRepetition > 1) fail(`its column ${name} has lists in lists`);
  // a list is marked as one: root, name, list, element; it may also be a repeated value without a mark: root, name
  const isMarked = path[1].element.converted_type === "LIST";
  const isPlain = path.length === 2 || path.length <= 4 && column.maxRepetition === 1 && isMarked;
  if (!isPlain) fail(`its column ${name} has structures inside`);
  return column;
}

/** Yields the rows of a group. @throws ParquetProblem if the columns have other numbers of rows than the group claims */
export async function* rowsOfGroup(
  source: RandomAccess,
  group: RowGroup,
  columns: ReadonlyMap<string, Column>,
): AsyncGenerator<Row> {
  const wanted = Number(group.num_rows);
  const readers = [...columns].map(([name, column]) => {
    const path = column.path.slice(1).map(({ element }) => element.name).join(".");
    const chunk = group.columns.find(({ meta_data }) => meta_data?.path_in_schema.join(".") === path);
    expect(
      chunk?.meta_data !== undefined && !chunk.file_path,
      `the column ${column.name} is not in the file`,
    );
    const pages = pagesOf(source, chunk.meta_data, column);
    return { name, rows: column.maxRepetition === 0 ? flatRows(pages, column) : listRows(pages, column) };
  });
  for (let row = 0; row < wanted; row++) {
    const values: [string, unknown][] = [];
    for (const { name, rows } of readers) {
      const next = await rows.next();
      expect(!next.done, `the column ${name} has ${row} of ${wanted} rows`);
      values.push([name, next.value]);
    }
    yield Object.fromEntries(values);
  }
  for (const { name, rows } of readers) {
    expect((await rows.next()).done === true, `the column ${name} has more than ${wanted} rows`);
  }
}

async function* flatRows(pages: AsyncIterable<Page>, { maxDefinition }: Column): AsyncGenerator<unknown> {
  for await (const { count, definition, values } of pages) {
    let at = 0;
    for (let i = 0; i < count; i++) {
      yield definition === null || definition[i] === maxDefinition ? values[at++] : null;
    }
  }
}

/** A list: an array, or a typed one if no element is null. A list that is null itself is null. */
type List = ArrayLike<unknown> | null;

/** Yields one list for each row. A list may begin in one page and continue in the next. */
async function* listRows(pages: AsyncIterable<Page>, column: Column): AsyncGenerator<List> {
  let open: List[] | null = null; // the parts of the current list
  for await (const page of pages) {
    let first = 0, at = 0;
    const { count, repetition } = page;
    if (count > 0 && repetition![0] !== 0) {
      expect(open !== null, `the column ${column.name} begins within a list`);
    }
    for (let i = 1; i <= count; i++) {
      if (i < count && repetition![i] !== 0) continue;
      const { list, used }: { list: List; used: number } = listIn(page, column, first, i, at);
      if (repetition![first] === 0) {
        if (open) yield joined(open);
        open = [list];
      } else open!.push(list);
      first = i;
      at += used;
    }
  }
  if (open) yield joined(open);
}

function joined(parts: readonly List[]): List {
  if (parts.length === 1) return parts[0];
  const all: unknown[] = [];
  for (const part of parts) for (let i = 0; i < (part?.length ?? 0); i++) all.push(part![i]);
  return all;
}

/** Reads the list of the levels `from` to `to`, whose first value is at `at`. @returns it, and how many values it has */
function listIn(
  { definition, values }: Page,
  { maxDefinition, path }: Column,
  from: number,
  to: number,
  at: number,
): { list: List; used: number } {
  const length = to - from;
  let used = 0;
  for (let i = from; i < to; i++) if (definition === null || definition[i] === maxDefinition) used++;
  if (used === length) return { list: sliceOf(values, at, at + length), used };
  // the level at which the list has an element, even if that is null
  const inside = path.findIndex(({ element }) => element.repetition_type === "REPEATED");
  const level =
    path.slice(1, inside + 1).filter(({ element }) => element.repetition_type !== "REQUIRED").length;
  if (length === 1 && definition![from] < level) {
    return { list: definition![from] === level - 1 ? [] : null, used };
  }
  let next = at;
  const list = Array.from(
    { length },
    (_, i) => definition![from + i] === maxDefinition ? values[next++] : null,
  );
  return { list, used };
}

function sliceOf(values: Page["values"], from: number, to: number): ArrayLike<unknown> {
  return Array.isArray(values) ? values.slice(from, to) : values.subarray(from, to);
}
