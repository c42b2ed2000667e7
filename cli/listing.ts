// Finds the pictures of encode and reconstruct, shows how many were found so far, and says what is left out.
import process from "node:process";
import { eachSample, type Sample } from "../data/index.ts";
import { samplesAt } from "../data/pictures/samples.ts";
import { Corpus } from "../data/pictures/shards.ts";
import { count } from "./options.ts";
import { printAside } from "./print.ts";
import { Progress, shortWork } from "./progress.ts";

/** Lists the names of all pictures. */
export async function listNames(sources: readonly string[], signal: AbortSignal): Promise<string[]> {
  const names: string[] = [];
  await listing(async (found, onLeftOut) => {
    const onFound = (more: number) => found(names.length + more);
    for await (const { name } of eachSample(sources, { signal, onLeftOut, onFound })) {
      signal.throwIfAborted();
      names.push(name);
      found(names.length);
    }
  });
  return names;
}

/** Lists what the sources name, divided into `of` shards, without opening archives. */
export async function listCorpus(
  sources: readonly string[],
  of: number,
  signal: AbortSignal,
): Promise<Corpus> {
  const corpus = await listing((onFound, onLeftOut) =>
    Corpus.list(sources, of, { signal, onFound, onLeftOut })
  );
  if (corpus.repeated > 0) printAside(`left out: ${count(corpus.repeated, "path")} named more than once`);
  return corpus;
}

/** Lists the pictures of a shard by their names. Its archives are opened for that, each once. */
export async function listShard(
  corpus: Corpus,
  part: number,
  signal: AbortSignal,
): Promise<Map<string, Sample>> {
  const samples = new Map<string, Sample>();
  await listing(async (found, onLeftOut) => {
    for (const path of corpus.shard(part)) {
      signal.throwIfAborted();
      for await (const sample of samplesAt(path, { onLeftOut })) samples.set(sample.name, sample);
      found(samples.size);
    }
  });
  return samples;
}

async function listing<T>(
  list: (found: (count: number) => void, onLeftOut: (source: string, what: string) => void) => Promise<T>,
): Promise<T> {
  const leftOut: string[] = [];
  const progress = new Progress({
    ...{ label: "list", unit: "picture", patience: shortWork, stream: process.stderr },
  });
  try {
    return await list(
      (found) => progress.update(found),
      (source, what) => leftOut.push(`left out in ${source}: ${what}`),
    );
  } finally {
    progress.erase();
    printAside(...leftOut);
  }
}

/** Yields the samples with these names, each once. */
export async function* only(samples: AsyncIterable<Sample>, names: Set<string>): AsyncGenerator<Sample> {
  for await (const sample of samples) if (names.delete(sample.name)) yield sample;
}
