// What the tests of token files write and read.
import {
  openTokens,
  type OpenTokensOptions,
  type TokenHeader,
  type TokenRecord,
  TokenWriter,
} from "../../data/index.ts";

export const header: TokenHeader = {
  format: "tessera-tokens",
  version: 1,
  factor: 16,
  grid: [2, 3],
  vocabulary: 16384,
  range: "signed",
  attentionOrder: "taming",
  preprocessing: "none",
  model: "last.ckpt",
  weights: "ab12",
  source: ["faces"],
  shard: null,
};
const captions = [
  null,
  "",
  'a "quoted" face',
  '"',
  "tab\tand\nline\n\nends",
  "ünï 😀",
  "[1,2]",
  "# {",
  '"a"\t""b',
];
export const records: TokenRecord[] = captions.map((caption, i) => {
  return { file: `faces/${i}.jpg`, caption, encoding: [i, 16383, 0, 7, i * i, 300], grid: [2, 3] };
});

export async function readAll(path: string, options?: OpenTokensOptions): Promise<TokenRecord[]> {
  const found: TokenRecord[] = [];
  for await (const record of (await openTokens(path, options)).records()) found.push(record);
  return found;
}

export async function write(path: string, head: TokenHeader, rows: readonly TokenRecord[]): Promise<void> {
  const writer = await TokenWriter.open(path, head);
  await writer.add(rows.slice(0, 2));
  await writer.add(rows.slice(2));
  await writer.finish();
}
