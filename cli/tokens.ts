// Token files: what encode writes and decode reads. JSON lines, the first of which says how the tokens were made; or the
// same in one JSON document { ...header, pictures: [...] }.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { writeAtomic } from "../data/atomic.ts";
import type { VQGAN } from "../nn/index.ts";

export interface TokenHeader {
  readonly format: "tessera-tokens";
  readonly version: 1;
  /** Pixels per token along each side. */
  readonly factor: number;
  readonly codes: number;
  readonly range: "signed" | "unit";
  /** Fingerprint of the codebook, to notice tokens of another model. */
  readonly codebook: string;
  readonly model: string;
}

export interface PictureTokens {
  readonly path: string;
  /** Rows and columns of tokens. */
  readonly grid: readonly [number, number];
  /** Row by row. */
  readonly indices: readonly number[];
}

export async function headerOf(model: VQGAN, path: string): Promise<TokenHeader> {
  const codes = await model.quantize.embedding.weight.floats();
  const hash = createHash("sha256").update(new Uint8Array(codes.buffer, codes.byteOffset, codes.byteLength));
  return {
    format: "tessera-tokens",
    version: 1,
    factor: model.factor,
    codes: model.config.nEmbed,
    range: model.range,
    codebook: hash.digest("hex").slice(0, 16),
    model: path,
  };
}

/** JSON if the name ends in .json, else JSON lines. */
export async function writeTokens(
  path: string,
  header: TokenHeader,
  pictures: PictureTokens[],
): Promise<void> {
  const text = path.endsWith(".json")
    ? JSON.stringify({ ...header, pictures })
    : [header, ...pictures].map((line) => JSON.stringify(line)).join("\n");
  await writeAtomic(path, async (handle) => {
    await handle.writeFile(text + "\n");
  });
}

/**
 * Reads either form; a file without a header, or a bare list of indices per line with a grid, is read too.
 * @throws naming the line that is not as it should be.
 */
export async function readTokens(
  path: string,
): Promise<{ header: Partial<TokenHeader>; pictures: PictureTokens[] }> {
  const text = await readFile(path, "utf8").catch(() => {
    throw new Error(`${path}: there is no such file; check the path`);
  });
  const lines = text.split("\n").map((line, i) => ({ line: line.trim(), at: i + 1 })).filter(({ line }) =>
    line !== ""
  );
  const records = lines.flatMap(({ line, at }) => {
    const value = parse(path, line, at);
    const inner: unknown[] = Array.isArray(value.pictures) ? [value, ...value.pictures] : [value];
    return inner.map((record) => ({ record: record as Record<string, unknown>, at }));
  });
  let header: Partial<TokenHeader> = {};
  const pictures: PictureTokens[] = [];
  for (const { record, at } of records) {
    if (record.format === "tessera-tokens") header = record;
    else pictures.push(checkPicture(path, record, at, pictures.length));
  }
  if (pictures.length === 0) throw new Error(`${path}: there are no tokens in this file`);
  return { header, pictures };
}

function parse(path: string, line: string, at: number): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // told below
  }
  throw new Error(
    `${path}, line ${at}: this is not a JSON object; a token file by tessera encode is expected`,
  );
}

function checkPicture(
  path: string,
  record: Record<string, unknown>,
  at: number,
  index: number,
): PictureTokens {
  const { grid, indices } = record;
  const isWhole = (n: unknown) => Number.isInteger(n) && (n as number) >= 0;
  const isList = Array.isArray(indices) && indices.every(isWhole);
  const isGrid = Array.isArray(grid) && grid.length === 2 && grid.every(isWhole);
  if (!isList || !isGrid || grid[0] * grid[1] !== indices.length) {
    const found = `grid ${JSON.stringify(grid)}, ${Array.isArray(indices) ? indices.length : "no"} indices`;
    throw new Error(`${path}, line ${at}: expected grid [rows, columns] and as many indices; got ${found}`);
  }
  const name = typeof record.path === "string" ? record.path : `picture-${index + 1}`;
  return { path: name, grid: [grid[0], grid[1]], indices };
}
