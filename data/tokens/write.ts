// Writes a whole token file at once, from records that come one after the other.
import { writeAtomic } from "../files/atomic.ts";
import { tokenFormat } from "./format.ts";
import type { TokenHeader, TokenRecord } from "./record.ts";
import { writeJsonLines, writeTsv } from "./text.ts";

/**
 * Writes a token file in the format of its ending, in bounded memory. It appears whole, or not at all if the records throw.
 * @throws what the records throw; FormatError if the ending is unknown; a one-line error if the file cannot be written
 */
export async function writeTokens(
  path: string,
  header: TokenHeader,
  records: AsyncIterable<TokenRecord>,
): Promise<void> {
  const format = tokenFormat(path);
  const write = format === "parquet"
    ? (await import("./parquet.ts")).writeParquet
    : { tsv: writeTsv, jsonl: writeJsonLines }[format];
  await writeAtomic(path, (file) => write(file, header, records));
}
