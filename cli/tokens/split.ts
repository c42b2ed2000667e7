// tessera tokens split: divides token files into shards of equal size.
import { unlink } from "node:fs/promises";
import { dirname, normalize } from "node:path";
import { Command, Option } from "commander";
import { makeFolder } from "../../data/files/atomic.ts";
import { checkTogether, tokenFormat, type TokenRecord, writeTokens } from "../../data/index.ts";
import { count, forceOption, UsageError, wholeNumber } from "../options.ts";
import { print } from "../print.ts";
import { shardPath } from "../shards.ts";
import { filesArgument, openNamed, refuseOutputs, withRecords } from "./files.ts";

interface Flags {
  readonly out?: string;
  readonly shards: number;
  readonly force?: boolean;
}

const examples = `
Examples:
  $ tessera tokens split --shards 8 tokens.parquet                      writes tokens-1-of-8.parquet and so on
  $ tessera tokens split --shards 8 --out parts/t.tsv a.parquet b.parquet

The rows stay in their order. All shards have the same number of rows, or one more. Unlike encode --shards, it divides
archives too.`;

export function splitCommand(): Command {
  return new Command("split").description("divide token files into shards of equal size")
    .argument(...filesArgument)
    .addOption(new Option("--shards <n>", "how many").argParser(wholeNumber(1)).makeOptionMandatory())
    .option(
      "-o, --out <file>",
      "name of the new files, without their numbers (default: that of the only file)",
    )
    .addOption(forceOption("replace files that are there already"))
    .addHelpText("after", examples).action(split);
}

async function split(words: string[], { out: named, shards, force }: Flags): Promise<void> {
  const files = await openNamed(words);
  if (named === undefined && files.length > 1) {
    throw new UsageError("several files need a name for the new ones: --out FILE");
  }
  const out = named ?? files[0].path;
  tokenFormat(out);
  await checkTogether(files);
  const paths = Array.from({ length: shards }, (_, i) => shardPath(out, { part: i + 1, of: shards }));
  await refuseOutputs(paths, files, force);
  const total = await withRecords(files, "count", async (records) => {
    let rows = 0;
    for await (const _ of records) rows++;
    return rows;
  });
  if (total < shards) {
    throw new UsageError(
      `--shards ${shards}: there ${total === 1 ? "is" : "are"} only ${count(total, "picture")}`,
    );
  }
  await makeFolder(dirname(out));
  const source = [...new Set(files.flatMap(({ header }) => header.source))], written: string[] = [];
  try {
    await withRecords(files, "split", async (records) => {
      for (const [i, path] of paths.entries()) {
        const rows = Math.floor((i + 1) * total / shards) - Math.floor(i * total / shards);
        const header = { ...files[0].header, source, shard: `${i + 1}/${shards}` };
        await writeTokens(path, header, next(records, rows));
        written.push(path);
      }
    });
  } catch (error) {
    for (const path of written) await unlink(path).catch(() => {}); // all or nothing
    throw error;
  }
  print(
    `${normalize(paths[0])} to ${shards}: ${count(total, "picture")}, ${
      Math.floor(total / shards)
    } or one more in each`,
  );
}

/** Yields the next records, and leaves the generator open for those after them. */
async function* next(records: AsyncGenerator<TokenRecord>, count: number): AsyncGenerator<TokenRecord> {
  for (let i = 0; i < count; i++) {
    const { value, done } = await records.next();
    if (done) return;
    yield value;
  }
}
