// tessera tokens merge: joins the shards of a corpus, or several corpora, in one file.
import { dirname, normalize } from "node:path";
import { Command, Option } from "commander";
import { makeFolder } from "../../data/files/atomic.ts";
import { checkTogether, tokenFormat, writeTokens } from "../../data/index.ts";
import { count, forceOption } from "../options.ts";
import { print } from "../print.ts";
import { filesArgument, openNamed, refuseOutputs, withRecords } from "./files.ts";

const examples = `
Examples:
  $ tessera tokens merge --out tokens.parquet tokens-*-of-64.parquet
  $ tessera tokens merge --out tokens.jsonl tokens.parquet             into another format

Shards come in their order, their rows as they are. What verify refuses is not merged, and then nothing is written.`;

export function mergeCommand(): Command {
  return new Command("merge").description("join token files")
    .argument(...filesArgument)
    .addOption(new Option("-o, --out <file>", "the new file: .parquet, .jsonl or .tsv").makeOptionMandatory())
    .addOption(forceOption("replace a file that is there already"))
    .addHelpText("after", examples).action(merge);
}

async function merge(words: string[], { out, force }: { out: string; force?: boolean }): Promise<void> {
  tokenFormat(out); // refuses a wrong ending before anything is read
  const files = await openNamed(words);
  await checkTogether(files);
  await refuseOutputs([out], files, force);
  await makeFolder(dirname(out));
  const source = [...new Set(files.flatMap(({ header }) => header.source))];
  let rows = 0;
  await withRecords(files, "merge", async (records) => {
    async function* counted() {
      for await (const record of records) {
        rows++;
        yield record;
      }
    }
    await writeTokens(out, { ...files[0].header, source, shard: null }, counted());
  });
  print(`${normalize(out)}: ${count(rows, "picture")} from ${count(files.length, "file")}`);
}
