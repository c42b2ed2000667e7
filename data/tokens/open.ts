// Opening token files: .parquet, .jsonl and .tsv, read in bounded memory.
import { checkOptions, whole } from "../../src/check.ts";
import type { OpenTokensOptions, TokenFile } from "./record.ts";
import { openJsonLines, openTsv } from "./text.ts";
import { tokenFormat } from "./writer.ts";

/**
 * Opens a token file by Tessera or by others (DALL-E mini's are understood). Its ending says which format it has.
 * @throws FormatError if it is missing, has another ending, or is not what the ending says.
 * @example The records of a file
 * ```ts
 * import { openTokens } from "@tessera/vqgan";
 *
 * const { header, records } = await openTokens("tokens.parquet");
 * console.log(header?.model);
 * for await (const { file, caption, encoding } of records()) console.log(file, caption, encoding.length);
 * ```
 */
export async function openTokens(path: string, options: OpenTokensOptions = {}): Promise<TokenFile> {
  checkOptions("openTokens", options, { bos: whole(0) });
  switch (tokenFormat(path)) {
    case "parquet":
      return await (await import("./parquet.ts")).openParquet(path, options);
    case "jsonl":
      return await openJsonLines(path, options);
    case "tsv":
      return await openTsv(path, options);
  }
}
