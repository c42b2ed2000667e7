// What the commands of tessera tokens share: the files that they are given, and reading all of their rows.
import { realpath, stat } from "node:fs/promises";
import { eachRecord, openFiles, type SetFile, type TokenRecord } from "../../data/index.ts";
import { expandPattern, isPattern } from "../../data/pictures/glob.ts";
import { refuseExisting } from "../outputs.ts";
import { UsageError } from "../options.ts";
import { Progress, shortWork } from "../progress.ts";
import { stoppable } from "../stoppable.ts";

export const filesArgument = [
  "<files...>",
  "token files: .parquet, .jsonl or .tsv, or a pattern in quotes",
] as const;

/** Opens the files that were named, also by patterns in quotes, which no shell has expanded. @throws if there are none */
export async function openNamed(words: readonly string[]): Promise<SetFile[]> {
  const paths: string[] = [];
  for (const word of words) {
    if (!isPattern(word) || await stat(word).catch(() => null) !== null) paths.push(word);
    else {
      const found = await expandPattern(word);
      if (found.length === 0) throw new Error(`nothing matches the pattern ${word}`);
      paths.push(...found);
    }
  }
  return await openFiles(paths);
}

/**
 * Reads all rows of all files and checks them, shows how many were read, and stops at Ctrl-C.
 * @param label what is done with the rows, for the progress
 * @param use gets the rows
 */
export async function withRecords<T>(
  files: readonly SetFile[],
  label: string,
  use: (records: AsyncGenerator<TokenRecord>) => Promise<T>,
): Promise<T> {
  const progress = new Progress({ label, unit: "picture", patience: shortWork });
  let done = 0;
  return await stoppable(() => `stopped after ${done} rows`, async (signal) => {
    async function* watched(): AsyncGenerator<TokenRecord> {
      for await (const record of eachRecord(files)) {
        signal.throwIfAborted();
        yield record;
        progress.update(++done);
      }
    }
    const records = watched();
    try {
      return await use(records);
    } finally {
      await records.return(undefined); // who takes a fixed number leaves the file open
      progress.erase();
    }
  });
}

/** @throws if a result would replace what it is made of, or, without `force`, something else */
export async function refuseOutputs(
  outputs: readonly string[],
  files: readonly SetFile[],
  force = false,
): Promise<void> {
  const inputs = new Map<string, string>();
  for (const { path } of files) inputs.set(await realpath(path), path);
  for (const output of outputs) {
    const input = inputs.get(await realpath(output).catch(() => output));
    if (input !== undefined) {
      throw new UsageError(`${output} would replace ${input}, of which it is made: choose another name`);
    }
  }
  if (!force) await refuseExisting(outputs);
}
