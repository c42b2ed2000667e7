// What a token file holds, whatever its format: how the tokens were made, and for each picture its name, its caption and
// its tokens.
import type { AttentionOrder } from "../formats/config.ts";
import { FormatError } from "../formats/source.ts";
import type { PixelRange } from "../pictures/picture.ts";

/** How the tokens were made: all that is needed to make the same again, or to turn them into pictures. */
export interface TokenHeader {
  readonly format: "tessera-tokens";
  readonly version: 1;
  /** Pixels per token along each side: the f of f16. */
  readonly factor: number;
  /** Rows and columns of every picture; null where each record has its own. */
  readonly grid: readonly [number, number] | null;
  /** Number of codes: tokens are 0 to vocabulary - 1. */
  readonly vocabulary: number;
  /** What the encoder was given for black and white: [-1, 1] or [0, 1]. */
  readonly range: PixelRange;
  /** Order of the model's attention blocks. */
  readonly attentionOrder: AttentionOrder;
  /** What was done to the pictures before, in words. */
  readonly preprocessing: string;
  /** File name of the model, and SHA-256 of the autoencoder's weights. */
  readonly model: string;
  readonly weights: string;
  /** Folders, lists and archives the pictures came from, and which part of them. */
  readonly source: readonly string[];
  readonly shard: string | null;
}

export interface TokenRecord {
  readonly file: string;
  readonly caption: string | null;
  /** The tokens row by row. */
  readonly encoding: readonly number[];
  /** Rows and columns. */
  readonly grid: readonly [number, number];
}

/** A token file that is open for reading: its header, and its records, which are read as they are asked for. */
export interface TokenFile {
  /** Null in files from elsewhere. */
  readonly header: TokenHeader | null;
  /** @throws FormatError naming the row that cannot be used. */
  records(): AsyncGenerator<TokenRecord>;
}

export interface OpenTokensOptions {
  /** A token that sequences may begin with and that is not part of the picture. It is removed if it comes first. */
  readonly bos?: number;
}

/** @throws FormatError unless `value` is a header of this version. */
export function checkHeader(path: string, value: unknown): TokenHeader {
  const header = value as TokenHeader;
  if (typeof value !== "object" || value === null || header.format !== "tessera-tokens") {
    throw new FormatError(path, "its first line is no header of tokens", "make it with tessera encode");
  }
  const grid: unknown = header.grid ?? null;
  const sides: unknown[] = Array.isArray(grid) && grid.length === 2 ? grid : [];
  const wholes: unknown[] = [header.factor, header.vocabulary, ...sides];
  const isGrid = grid === null || sides.length === 2;
  if (header.version !== 1 || !isGrid || !wholes.every((n) => Number.isSafeInteger(n) && (n as number) > 0)) {
    const found = `version ${header.version}, f ${header.factor}, vocabulary ${header.vocabulary}`;
    throw new FormatError(path, `its header cannot be used: ${found}, grid ${JSON.stringify(header.grid)}`);
  }
  return header;
}

/**
 * A record from the loose values of a row. DALL-E mini's files are understood: columns image_file or key, the tokens as
 * text "[1, 2, ...]"; so are 64-bit integers. Without a grid anywhere, the tokens must fill a square.
 * @param place for messages, such as "line 3"
 */
export function toRecord(
  path: string,
  place: string,
  row: Readonly<Record<string, unknown>>,
  header: TokenHeader | null,
  { bos }: OpenTokensOptions,
): TokenRecord {
  const fail = (problem: string): never => {
    const wayOut = "rows need encoding: a list of token numbers, and a grid unless it is square";
    throw new FormatError(path, `${place}: ${problem}`, wayOut);
  };
  const sequence = wholeNumbers(row.encoding);
  if (sequence === null) {
    return fail(`its encoding is ${row.encoding === undefined ? "missing" : "no list of whole numbers"}`);
  }
  const encoding = bos !== undefined && sequence[0] === bos ? sequence.slice(1) : sequence;
  const file = row.file ?? row.image_file ?? row.key;
  const side = Math.sqrt(encoding.length);
  const grid = wholeNumbers(row.grid) ?? header?.grid ?? (Number.isInteger(side) ? [side, side] : [0, 0]);
  const [rows, columns] = grid;
  if (grid.length !== 2 || rows * columns !== encoding.length || encoding.length === 0) {
    const shape = rows === 0 ? "a square" : `a grid of ${rows}x${columns}`;
    return fail(`it has ${encoding.length} tokens (the first is ${encoding[0]}), which do not fill ${shape}`);
  }
  return {
    file: typeof file === "string" && file !== "" ? file : place.replaceAll(" ", "-"),
    caption: typeof row.caption === "string" ? row.caption : null,
    encoding,
    grid: [rows, columns],
  };
}

/** The numbers of a list, of typed integers, or of the text of a list; null if it is none. */
function wholeNumbers(value: unknown): readonly number[] | null {
  if (typeof value === "string") {
    try {
      return wholeNumbers(JSON.parse(value));
    } catch {
      return null;
    }
  }
  const isList = Array.isArray(value) || ArrayBuffer.isView(value) && !(value instanceof DataView);
  if (!isList) return null;
  const numbers = Array.from(value as ArrayLike<number | bigint>, Number);
  return numbers.every(Number.isSafeInteger) ? numbers : null;
}
