// tessera tokens verify: is everything there, whole, and once?
import { Command } from "commander";
import { checkTogether } from "../../data/index.ts";
import { count } from "../options.ts";
import { print } from "../print.ts";
import { filesArgument, openNamed, withRecords } from "./files.ts";

const examples = `
Examples:
  $ tessera tokens verify tokens-*-of-64.parquet

It reads all rows. The exit code is 1, with one line, if a shard is missing or not finished, a file is damaged, a
token is outside the vocabulary, a picture is there twice, or files were made by other models or in other ways.`;

export function verifyCommand(): Command {
  return new Command("verify").description("check that token files are complete and fit together")
    .argument(...filesArgument).addHelpText("after", examples).action(verify);
}

async function verify(words: string[]): Promise<void> {
  const files = await openNamed(words);
  await checkTogether(files);
  const counts = files.map(() => 0);
  const counted = files.map((file, i) => ({
    ...file,
    async *records() {
      counts[i] = 0;
      for await (const record of file.records()) {
        counts[i]++;
        yield record;
      }
    },
  }));
  const total = await withRecords(counted, "verify", async (records) => {
    let rows = 0;
    for await (const _ of records) rows++;
    return rows;
  });
  const [{ header: { model, weights, vocabulary } }] = files;
  const each = files.length === 1 ? "" : `, ${Math.min(...counts)} to ${Math.max(...counts)} in each`;
  print(
    `${count(files.length, "file")}, complete: ${count(total, "picture")}${each}, none twice`,
    `made by ${model} (weights ${weights.slice(0, 16)}), ${vocabulary} codes`,
  );
}
