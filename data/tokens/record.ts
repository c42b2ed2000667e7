// What a token file holds, whatever its format: how the tokens were made, and for each picture its name, its caption and
// its tokens.
import {
  checkOptions,
  isList,
  isWhole,
  needed,
  oneOf,
  orNull,
  type Rule,
  rule,
  type Rules,
  shown,
  text,
  texts,
  whole,
} from "../../src/check.ts";
import type { AttentionOrder } from "../formats/config.ts";
import { FormatError } from "../formats/source.ts";
import { aRange, type PixelRange } from "../pictures/picture.ts";

/** How the tokens were made: all that is needed to make the same again, or to turn them into pictures. */
export interface TokenHeader {
  /** What marks such a header. */
  readonly format: "tessera-tokens";
  /** Of the format. */
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
  /** File name of the model. */
  readonly model: string;
  /** SHA-256 of the autoencoder's weights, which `hashWeights` computes. */
  readonly weights: string;
  /** Folders, lists and archives the pictures came from. */
  readonly source: readonly string[];
  /** Which part of them, such as "2/8"; null for all. */
  readonly shard: string | null;
}

const isSide = (n: unknown) => isWhole(n) && n > 0;
const isGrid = (grid: unknown) => Array.isArray(grid) && grid.length === 2 && grid.every(isSide);
const aGrid: Rule = rule("[rows, columns], both above 0", isGrid);
const headerRules: Rules<TokenHeader> = {
  format: needed(oneOf("tessera-tokens")),
  version: needed(oneOf(1)),
  factor: needed(whole(1)),
  grid: needed(orNull(aGrid)),
  vocabulary: needed(whole(1)),
  range: needed(aRange),
  attentionOrder: needed(oneOf("taming", "vqgan-jax-legacy")),
  preprocessing: needed(text),
  model: needed(text),
  weights: needed(text),
  source: needed(texts),
  shard: needed(orNull(text)),
};

/** @throws TypeError unless a file can be begun with this header */
export function checkNewHeader(header: TokenHeader): void {
  checkOptions("TokenWriter.open: the header", header, headerRules);
}

/** A picture's tokens. */
export interface TokenRecord {
  /** The picture's name, which identifies the record. */
  readonly file: string;
  /** null if there is none. */
  readonly caption: string | null;
  /** The tokens row by row. */
  readonly encoding: readonly number[];
  /** Rows and columns. */
  readonly grid: readonly [number, number];
}

const recordRules: Rules<TokenRecord> = {
  file: needed(text),
  caption: needed(orNull(text)),
  encoding: needed(rule("a list of tokens", isList)),
  grid: needed(aGrid),
};

/** @throws unless a record fits into a file with this header */
export function checkRecord(record: TokenRecord, header: TokenHeader): void {
  const who = `TokenWriter.add: ${shown(record?.file)}`;
  checkOptions(who, record, recordRules);
  const { encoding, grid: [rows, columns] } = record;
  const bad = encoding.findIndex((token) => !isWhole(token) || token >= header.vocabulary);
  if (bad >= 0) {
    throw new Error(`${who}: token ${shown(encoding[bad])} at ${bad} is not in 0..${header.vocabulary - 1}`);
  }
  if (encoding.length !== rows * columns) {
    throw new Error(`${who}: ${encoding.length} tokens do not fill a grid of ${rows}x${columns}`);
  }
  if (header.grid && `${header.grid}` !== `${record.grid}`) {
    throw new Error(
      `${who}: its grid is ${rows}x${columns}, the header says ${header.grid.join("x")} for all`,
    );
  }
}

/** A token file that is open for reading: its header, and its records, which are read as they are asked for. */
export interface TokenFile {
  /** Null in files from elsewhere. */
  readonly header: TokenHeader | null;
  /** Reads the records one after the other. @throws FormatError naming the row that cannot be used. */
  records(): AsyncGenerator<TokenRecord>;
}

/** How a token file is read. */
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
