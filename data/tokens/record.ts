// What a token file holds in every format: how the tokens were made, and the name, the caption and the tokens of each
// picture.
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

/** How the tokens were made: everything that is needed to make the same tokens again, or to decode them to pictures. */
export interface TokenHeader {
  /** Marks the header of a token file. */
  readonly format: "tessera-tokens";
  /** The version of the format. */
  readonly version: 1;
  /** The number of pixels per token along each side: the 16 of f16. */
  readonly factor: number;
  /** The rows and columns of tokens in every picture; null if each record has its own. */
  readonly grid: readonly [number, number] | null;
  /** The number of codes. Tokens are 0 to vocabulary - 1. */
  readonly vocabulary: number;
  /** The range of the pixel values that the encoder was given: [-1, 1] or [0, 1]. */
  readonly range: PixelRange;
  /** The order of the model's attention blocks. */
  readonly attentionOrder: AttentionOrder;
  /** How the pictures were prepared, in words. */
  readonly preprocessing: string;
  /** The file name of the model. */
  readonly model: string;
  /** The SHA-256 of the autoencoder's weights, which `hashWeights` computes. */
  readonly weights: string;
  /** The folders, lists and archives that the pictures came from. */
  readonly source: readonly string[];
  /** Which part of the pictures the file holds, such as "2/8"; null for all. */
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

/** @throws TypeError if a new file cannot have this header */
export function checkNewHeader(header: TokenHeader): void {
  checkOptions("TokenWriter.open: the header", header, headerRules);
}

/** A picture's tokens. */
export interface TokenRecord {
  /** The picture's name, which identifies the record. */
  readonly file: string;
  /** The caption; null if there is none. */
  readonly caption: string | null;
  /** The tokens row by row. */
  readonly encoding: readonly number[];
  /** The number of rows and columns of tokens. */
  readonly grid: readonly [number, number];
}

const recordRules: Rules<TokenRecord> = {
  file: needed(text),
  caption: needed(orNull(text)),
  encoding: needed(rule("a list of tokens", isList)),
  grid: needed(aGrid),
};

/** @throws if the record does not fit into a file with this header */
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
      `${who}: its grid is ${rows}x${columns}, but the header says ${header.grid.join("x")}`,
    );
  }
}

/** A token file that is open for reading. Its records are read on request. */
export interface TokenFile {
  /** The header; null if another program wrote the file. */
  readonly header: TokenHeader | null;
  /** Reads the records one after the other. @throws FormatError naming the row that is invalid */
  records(): AsyncGenerator<TokenRecord>;
}

/** How a token file is read. */
export interface OpenTokensOptions {
  /** A start token, which is not part of the picture. It is removed from sequences that begin with it. */
  readonly bos?: number;
}

/** @throws FormatError if `value` is not a header of this version. */
export function checkHeader(path: string, value: unknown): TokenHeader {
  const header = value as TokenHeader;
  if (typeof value !== "object" || value === null || header.format !== "tessera-tokens") {
    throw new FormatError(path, "its header is not that of a token file", "make it with tessera encode");
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
 * Makes a record from the unchecked values of a row. The rows of DALL-E mini are understood too: columns image_file or
 * key, and the tokens as text "[1, 2, ...]" or as 64-bit integers. If neither the row nor the header has a grid, the
 * tokens must fill a square.
 * @param place where the row is, for messages, such as "line 3"
 */
export function toRecord(
  path: string,
  place: string,
  row: Readonly<Record<string, unknown>>,
  header: TokenHeader | null,
  { bos }: OpenTokensOptions,
): TokenRecord {
  const fail = (problem: string): never => {
    const wayOut =
      "each row needs encoding, a list of token numbers, and a grid unless the picture is square";
    throw new FormatError(path, `${place}: ${problem}`, wayOut);
  };
  const sequence = wholeNumbers(row.encoding);
  if (sequence === null) {
    return fail(`its encoding is ${row.encoding === undefined ? "missing" : "not a list of whole numbers"}`);
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

/** Returns the numbers of a list, of a typed array, or of a list written as text; null for anything else. */
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
