// tessera tokens: works on the files that many calls of encode have written.
import { Command } from "commander";
import { mergeCommand } from "./merge.ts";
import { splitCommand } from "./split.ts";
import { statsCommand } from "./stats.ts";
import { verifyCommand } from "./verify.ts";

const examples = `
Examples:
  $ tessera tokens verify tokens-*-of-64.parquet
  $ tessera tokens merge --out tokens.parquet tokens-*-of-64.parquet
  $ tessera tokens stats tokens.parquet
  $ tessera tokens split --shards 8 tokens.parquet

The files are read row by row, so they may be larger than the memory. Formats may be mixed: .parquet, .jsonl and .tsv.`;

export function tokensCommand(): Command {
  const command = new Command("tokens").description("check, count, join and divide token files");
  for (const one of [verifyCommand(), statsCommand(), mergeCommand(), splitCommand()]) {
    command.addCommand(one);
  }
  return command.helpCommand(false).addHelpText("after", examples);
}
