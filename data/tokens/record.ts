// What a token file holds in every format: how the tokens were made, and the name, the caption and the tokens of each
// picture.
import {
  checkOptions,
  checkValues,
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
import { parseJson, record } from "../formats/json.ts";
import { FormatError } from "../formats/source.ts";
import { printable } from "../formats/text.ts";
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
  const header = record(value);
  if (header?.format !== "tessera-tokens") {
    throw new FormatError(path, "its header is not that of a token file", "make it with tessera encode");
  }
  try {
    checkValues("its header cannot be used", header as object as TokenHeader, headerRules);
  } catch (error) {
    throw new FormatError(path, (error as Error).message);
  }
  return header as object as TokenHeader;
}

const wayOut = "each row needs encoding, a list of token numbers, and a grid unless the picture is square";

/** A row whose tokens would fill its grid without the first one, which is DALL-E mini's start token. */
export class StartTokenError extends FormatError {
  /** The message without the way out. */
  readonly problem: string;

  constructor(path: string, problem: string, bos: number) {
    super(path, problem, `leave out the start token: openTokens(path, { bos: ${bos} })`);
    this.problem = printable(`${path}: ${problem}`);
  }
}

/** The token before each picture in DALL-E mini's sequences: the first one after the 16384 codes of its codebook. */
export const dalleMiniBos = 16384;

/**
 * Makes a record from the unchecked values of a row. The rows of DALL-E mini are understood too: columns image_file or
 * key, and the tokens as text "[1, 2, ...]" or as 64-bit integers. If neither the row nor the header has a grid, the
 * tokens must fill a square. Nothing is converted: null, true and "5" are no tokens.
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
    throw new FormatError(path, `${place}: ${problem}`, wayOut);
  };
  const sequence = wholeNumbers("encoding", row.encoding, fail) ?? fail("its encoding is missing");
  const encoding = bos !== undefined && sequence[0] === bos ? sequence.slice(1) : sequence;
  const side = Math.sqrt(encoding.length);
  const square = Number.isInteger(side) && side > 0 ? [side, side] : null;
  const grid = wholeNumbers("grid", row.grid, fail) ?? header?.grid ?? square;
  if (grid !== null && !isGrid(grid)) {
    return fail(`its grid is ${shown(grid)}, expected [rows, columns], both above 0`);
  }
  const [rows, columns] = grid ?? [0, 0];
  if (rows * columns !== encoding.length || grid === null) {
    const shape = grid === null ? "a square" : `a grid of ${rows}x${columns}`;
    const first = encoding.length === 0 ? "" : ` (the first is ${encoding[0]})`;
    const problem = `it has ${encoding.length} tokens${first}, which do not fill ${shape}`;
    const others = encoding.length - 1, fits = grid ? rows * columns === others : isSquare(others);
    if (encoding[0] === dalleMiniBos && fits) {
      throw new StartTokenError(path, `${place}: ${problem}`, dalleMiniBos);
    }
    return fail(problem);
  }
  return {
    file: nameIn(row, fail) ?? place.replaceAll(" ", "-"),
    caption: captionIn(row, fail),
    encoding,
    grid: [rows, columns],
  };
}

const isSquare = (n: number) => n > 0 && Number.isInteger(Math.sqrt(n));

type Fail = (problem: string) => never;

function nameIn(row: Readonly<Record<string, unknown>>, fail: Fail): string | null {
  const column = ["file", "image_file", "key"].find((name) => row[name] !== undefined && row[name] !== null);
  const name = column === undefined ? "" : row[column];
  if (typeof name === "number" || typeof name === "bigint") return String(name);
  if (typeof name !== "string") return fail(`its ${column} is ${inWords(name)}, expected a text`);
  return name === "" ? null : name;
}

function captionIn({ caption = null }: Readonly<Record<string, unknown>>, fail: Fail): string | null {
  if (caption === null || typeof caption === "string") return caption;
  return fail(`its caption is ${inWords(caption)}, expected a text`);
}

/**
 * Returns the numbers of a list, of a typed array, or of a list written as text; null if there is none. Calls `fail` with
 * the place and the value of what is not a whole number from 0 on.
 */
function wholeNumbers(name: string, value: unknown, fail: Fail): readonly number[] | null {
  if (value === undefined || value === null) return null;
  const list = typeof value === "string" ? listIn(value) : value;
  const isTyped = ArrayBuffer.isView(list) && !(list instanceof DataView);
  if (!Array.isArray(list) && !isTyped) {
    return fail(`its ${name} is ${inWords(value)}, expected a list of whole numbers`);
  }
  const items = list as ArrayLike<unknown>, numbers = new Array<number>(items.length);
  for (let i = 0; i < items.length; i++) {
    const item = items[i], n = typeof item === "bigint" ? Number(item) : item;
    if (!isWhole(n)) {
      return fail(`its ${name} has ${inWords(item)} at place ${i}, expected whole numbers >= 0`);
    }
    numbers[i] = n + 0; // turns -0 into 0
  }
  return numbers;
}

const inWords = (value: unknown) =>
  value instanceof Date ? "a date" : typeof value === "bigint" ? String(value) : shown(value);

function listIn(text: string): unknown {
  try {
    return parseJson(text);
  } catch {
    return null;
  }
}
