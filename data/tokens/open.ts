// Opens token files (.parquet, .jsonl and .tsv) and reads them in bounded memory.
import { checkOptions, whole } from "../../src/check.ts";
import type { OpenTokensOptions, TokenFile } from "./record.ts";
import { openJsonLines, openTsv } from "./text.ts";
import { tokenFormat } from "./format.ts";

/**
 * Opens a token file that was written by Tessera or by another program, such as DALL-E mini. The ending of the path
 * decides the format.
 * @throws FormatError if the file is missing, has another ending, or does not have the format of its ending.
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
