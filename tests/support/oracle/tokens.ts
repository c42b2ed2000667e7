// Reads token files and archives a second time, without any code of the readers: Parquet by hyparquet's own assembly of rows
// and hyparquet-compressors, and text by the plain description of the format.
import { parquetMetadataAsync, parquetReadObjects } from "hyparquet";
import { compressors } from "hyparquet-compressors";

/** A record without a name has the place of its row as its name, which an oracle does not know. */
export interface Row {
  readonly file: string | null;
  readonly caption: string | null;
  readonly encoding: readonly number[];
  readonly grid: readonly number[];
}

type Raw = Readonly<Record<string, unknown>>;

function numbers(value: unknown): number[] | null {
  if (value === null || value === undefined) return null;
  const list = typeof value === "string" ? JSON.parse(value) : value;
  return Array.from(list as ArrayLike<number | bigint>, (n) => Number(n) + 0);
}

function toRow(raw: Raw, header: { grid?: number[] | null } | null): Row {
  const encoding = numbers(raw.encoding)!, side = Math.sqrt(encoding.length);
  const name = raw.file ?? raw.image_file ?? raw.key ?? "";
  return {
    file: String(name) === "" ? null : String(name),
    caption: (raw.caption ?? null) as string | null,
    encoding,
    grid: numbers(raw.grid) ?? header?.grid ?? [side, side],
  };
}

const text = (bytes: Uint8Array) => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

export function jsonLines(bytes: Uint8Array): Row[] {
  const lines = text(bytes).split("\n").map((line) => line.trim() === "" ? null : JSON.parse(line));
  const header = lines[0]?.format === undefined ? null : lines[0];
  return lines.filter((line) => line !== null && line !== header).map((line) => toRow(line, header));
}

/** Character by character, as RFC 4180 has it, but with tabs. */
export function tsv(bytes: Uint8Array): Row[] {
  let all = text(bytes), header = null;
  if (all.startsWith("# ")) {
    const end = all.indexOf("\n");
    if (all[2] === "{") header = JSON.parse(all.slice(2, end < 0 ? undefined : end));
    all = end < 0 ? "" : all.slice(end + 1);
  }
  const rows: { cells: (string | null)[]; isBlank: boolean }[] = [];
  let cells: (string | null)[] = [], cell = "", wasQuoted = false, isQuoted = false, from = 0;
  const endCell = () => {
    cells.push(cell === "" && !wasQuoted ? null : cell);
    [cell, wasQuoted] = ["", false];
  };
  for (let i = 0; i <= all.length; i++) {
    const c = all[i];
    if (isQuoted && c === '"' && all[i + 1] === '"') cell += all[++i];
    else if (isQuoted) c === '"' ? isQuoted = false : cell += c;
    else if (c === '"' && cell === "" && !wasQuoted) isQuoted = wasQuoted = true;
    else if (c === "\t") endCell();
    else if (c === "\n" || c === undefined) {
      if (!wasQuoted) cell = cell.replace(/\r$/, "");
      else cell = cell.replace(/\r$/, (end) => all[i - 1] === "\r" && all[i - 2] === '"' ? "" : end);
      endCell();
      if (c === "\n" || i > from) rows.push({ cells, isBlank: all.slice(from, i).trim() === "" });
      [cells, from] = [[], i + 1];
    } else cell += c;
  }
  const [columns, ...rest] = rows;
  return rest.filter(({ isBlank }) => !isBlank).map(({ cells }) =>
    toRow(Object.fromEntries(columns.cells.map((name, i) => [name ?? "", cells[i] ?? undefined])), header)
  );
}

export async function parquet(bytes: Uint8Array): Promise<Row[]> {
  const own = bytes.slice().buffer;
  const file = { byteLength: own.byteLength, slice: (start: number, end?: number) => own.slice(start, end) };
  const metadata = await parquetMetadataAsync(file, { geoparquet: false });
  const names = new Set(metadata.schema.map(({ name }) => name));
  const columns = ["file", "image_file", "key", "caption", "encoding", "grid"].filter((name) =>
    names.has(name)
  );
  const rows = await parquetReadObjects({ file, metadata, columns, compressors });
  const written = metadata.key_value_metadata?.find(({ key }) => key === "tessera")?.value;
  return rows.map((row) => toRow(row, written === undefined ? null : JSON.parse(written)));
}

/** The regular files of an archive, with their bytes: ustar, and the path and size of pax headers. */
export function tar(bytes: Uint8Array): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  const field = (at: number, length: number) =>
    new TextDecoder().decode(bytes.subarray(at, at + length)).split("\0")[0];
  let next: { path?: string; size?: number } = {};
  for (let at = 0; bytes.subarray(at, at + 512).some((byte) => byte !== 0);) {
    const kind = String.fromCharCode(bytes[at + 156]), isWide = bytes[at + 124] >= 128;
    const wide = bytes.subarray(at + 124, at + 136).reduce(
      (n, byte, i) => n * 256 + (i === 0 ? byte - 128 : byte),
      0,
    );
    const own = isWide ? wide : parseInt(field(at + 124, 12).trim() || "0", 8);
    const isExtra = "xgLK".includes(kind), size = isExtra ? own : next.size ?? own;
    const isUstar = field(at + 257, 6).trim() === "ustar" && bytes[at + 262] === 0;
    const prefix = isUstar ? field(at + 345, 155) : "";
    const data = bytes.subarray(at + 512, at + 512 + size), content = new TextDecoder().decode(data);
    if (kind === "L") next = { ...next, path: content.split("\0")[0] };
    else if (kind === "x") {
      for (let rest = data; rest.length > 0;) {
        const length = parseInt(new TextDecoder().decode(rest), 10);
        const record = new TextDecoder().decode(rest.subarray(0, length)).replace(/^\d+ /, "");
        const [key, ...value] = record.slice(0, -1).split("=");
        if (key === "path") next = { ...next, path: value.join("=") };
        if (key === "size") next = { ...next, size: Number(value.join("=")) };
        rest = rest.subarray(length);
      }
    } else if (!isExtra) {
      const name = next.path ?? (prefix === "" ? field(at, 100) : `${prefix}/${field(at, 100)}`);
      if (kind !== "5") found.set(name, data);
      next = {};
    }
    at += 512 + Math.ceil(size / 512) * 512;
  }
  return found;
}
