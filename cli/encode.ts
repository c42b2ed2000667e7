// tessera encode: writes the tokens of pictures, and their captions, to one file. After a kill, the same command
// continues where it stopped.
import { dirname, normalize } from "node:path";
import { Command, Option } from "commander";
import { makeFolder } from "../data/files/atomic.ts";
import { isSilent } from "../data/files/lock.ts";
import {
  type Sample,
  tokenFormat,
  type TokenHeader,
  type TokenRecord,
  TokensInUseError,
  TokenWriter,
} from "../data/index.ts";
import type { Corpus, Shard } from "../data/pictures/shards.ts";
import { canonicalSource } from "../data/pictures/spelling.ts";
import { lockOf } from "../data/tokens/format.ts";
import { CodebookUsage, type VQGAN } from "../nn/index.ts";
import { asyncScope } from "../src/index.ts";
import { Costs } from "./cost.ts";
import { Grids } from "./grids.ts";
import { listCorpus, listShard } from "./listing.ts";
import { type ModelFlags, modelOptions, openModel } from "./model.ts";
import { count, forceOption, shard, wholeNumber } from "./options.ts";
import {
  type PictureBatch,
  type PictureFlags,
  pictureOptions,
  PictureReader,
  preprocessing,
} from "./pictures.ts";
import { print, printAside } from "./print.ts";
import { Progress } from "./progress.ts";
import { refuseOtherShards, type ShardFlags, shardPath, shareOf } from "./shards.ts";
import { dalleMiniOption, modelFacts } from "./tokens/facts.ts";
import { stoppable } from "./stoppable.ts";

interface Flags extends ModelFlags, PictureFlags, ShardFlags {
  readonly batch: number;
  readonly grids?: boolean;
  readonly force?: boolean;
}

const examples = `
Examples:
  $ tessera encode --model last.ckpt face.jpg
  $ tessera encode --model last.ckpt --out faces.parquet --grids faces/
  $ tessera encode --model last.ckpt --dalle-mini --shard 2/8 --out tokens.parquet archives/*.tar
  $ srun --ntasks 64 tessera encode --model last.ckpt --shards 512 --out tokens.parquet archives/*.tar

The file has a row for each picture: file, caption (from the .txt of the same name, also in archives), and encoding,
which holds the tokens row by row. With --keep-shape or --size 0 it also has grid, the numbers of rows and columns.
The first line of .jsonl and .tsv files, and the metadata of .parquet files under "tessera", say how the tokens were
made. While encode works, the tokens are in FILE.partial. If encode is killed, the same command continues from there,
and no picture is missing or repeated. Pictures that are new are added to a finished file; one that another model
made is replaced only with --force.

--shard 2/8 encodes the second of eight shards into FILE-2-of-8. mpirun, srun and the job arrays of Slurm start many
workers by one command: each then encodes its own shard. With --shards 512 there are 512, of which each of n workers
takes every nth, and a command without a launcher takes all. A shard has whole archives. One that is finished is
skipped, so any command may be given again. tessera tokens checks and joins the files.`;

export function encodeCommand(): Command {
  const command = new Command("encode").description("turn pictures into tokens")
    .argument("<pictures...>", "folders, globs, .txt lists, .tar archives or pictures");
  for (const option of [...modelOptions(), ...pictureOptions()]) command.addOption(option);
  return command
    .option("-o, --out <file>", "token file: .parquet, .jsonl or .tsv", "tokens.jsonl")
    .addOption(dalleMiniOption("make tokens as DALL-E mini did: pixels in [0, 1]"))
    .addOption(new Option("--batch <n>", "pictures per batch").argParser(wholeNumber(1)).default(1))
    .addOption(
      new Option("--shard <part/parts>", "encode only this shard, whatever a launcher says").argParser(shard)
        .conflicts("shards"),
    )
    .addOption(
      new Option(
        "--shards <n>",
        "divide the pictures into so many shards (default: one per worker of a launcher)",
      )
        .argParser(wholeNumber(1)),
    )
    .option("--grids", "also draw each token grid as coloured tiles, in a PNG next to the file")
    .addOption(forceOption("replace a finished token file that is there already"))
    .addHelpText("after", examples)
    .action(encode);
}

/** What a call of encode works with. */
interface Job {
  readonly flags: Flags;
  readonly model: VQGAN;
  /** The header of every file, except for its shard. */
  readonly header: TokenHeader;
  readonly corpus: Corpus;
  readonly costs: Costs;
  /** Whether other workers print on the same terminal, where one line for the progress is not enough. */
  readonly isOneOfMany: boolean;
  readonly signal: AbortSignal;
  /** The file that is being written. */
  writer: TokenWriter | null;
}

async function encode(named: string[], flags: Flags): Promise<void> {
  tokenFormat(flags.out); // refuses a wrong ending before the model is loaded
  const share = shareOf(flags), { of, parts, by } = share;
  await refuseOtherShards(flags.out, share);
  if (parts?.length === 0) return print(`nothing to do: there are only ${count(of, "shard")} (${by})`);
  const { model, path } = await openModel(flags, "encoder");
  const sources = await Promise.all(named.map(canonicalSource));
  const header = await headerOf([...new Set(sources)], flags, model, path);
  let job: Job | null = null;
  const stopped = () => {
    const writer = job?.writer;
    if (!writer?.length) return "stopped before the first picture";
    return `stopped; the same command continues after ${count(writer.length, "picture")}` +
      (parts === null ? "" : ` of ${normalize(writer.path)}`);
  };
  await stoppable(stopped, async (signal) => {
    const corpus = await listCorpus(sources, of, signal);
    await makeFolder(dirname(flags.out));
    job = {
      flags,
      model,
      header,
      corpus,
      costs: new Costs(model),
      isOneOfMany: by !== null,
      signal,
      writer: null,
    };
    await encodeShards(job, parts?.map((part) => ({ part, of })) ?? [null]);
  });
}

/**
 * Encodes shards one after the other. Those that another process seems to have come last.
 * @throws TokensInUseError if another process still has one of them
 */
async function encodeShards(job: Job, shards: readonly (Shard | null)[]): Promise<void> {
  const taken: { readonly shard: Shard | null; readonly error: TokensInUseError }[] = [];
  for (const shard of shards) {
    try {
      await encodeShard(job, shard);
    } catch (error) {
      if (!(error instanceof TokensInUseError)) throw error;
      taken.push({ shard, error });
      if (shards.length > 1) printAside(`${error.path} is in use, it comes last`);
    }
  }
  for (const { shard, error } of taken) {
    if (error.isCertain) throw error;
    printAside(`${error.path} is in use by another machine: waiting for a sign of life`);
    if (!await isSilent(lockOf(error.path), job.signal)) throw error;
    await encodeShard(job, shard);
  }
}

/** Encodes the pictures of a shard that are not in its file yet, and finishes it. */
async function encodeShard(job: Job, shard: Shard | null): Promise<void> {
  const { flags, model, corpus, signal } = job, { part } = shard ?? { part: 1 };
  const path = shardPath(flags.out, shard), usage = new CodebookUsage(model.vocabulary);
  const samples = await listShard(corpus, part, signal);
  const grids = flags.grids ? new Grids(path, shard !== null, [...samples.keys()], model) : null;
  const header = { ...job.header, shard: shard && `${part}/${shard.of}` };
  const writer = job.writer = await TokenWriter.open(path, header, {
    replace: flags.force,
    async onKept(record) {
      signal.throwIfAborted();
      const other = corpus.partOf(record.file) ?? part;
      if (other !== part) throw movedError(path, record.file, { part: other, of: corpus.of });
      usage.add(Int32Array.from(record.encoding));
      await grids?.drawMissing(record);
    },
  });
  try {
    await encodeInto(writer, samples, { ...job, usage, grids, shard });
  } finally {
    await writer.close();
  }
}

/** The error for a file with a picture that belongs to another shard now. */
function movedError(path: string, picture: string, { part, of }: Shard): Error {
  return new Error(
    `${path} has ${picture}, which belongs to shard ${part} of ${of} now that other archives are named: name those that were ` +
      "named before, and new ones only after them, or give the tokens another name",
  );
}

async function encodeInto(
  writer: TokenWriter,
  samples: ReadonlyMap<string, Sample>,
  job: Job & { readonly usage: CodebookUsage; readonly grids: Grids | null; readonly shard: Shard | null },
): Promise<void> {
  const { flags, model, usage, grids, costs, shard, signal } = job, path = normalize(writer.path);
  const missing = [...samples.values()].filter(({ name }) => !writer.has(name));
  const gone = writer.length - (samples.size - missing.length);
  if (gone > 0) print(`${path} keeps ${count(gone, "picture")} that the sources do not have`);
  if (writer.isFinished && missing.length === 0) {
    print(
      `${path} is finished: ${count(writer.length, "picture")} by the same model (--force encodes again)`,
    );
    return;
  }
  if (writer.length > 0) {
    print(`continuing: ${count(writer.length, "picture")} in ${path}${writer.isFinished ? "" : ".partial"}`);
  }
  const before = writer.length, label = shard ? `encode ${shard.part}/${shard.of}` : "encode";
  const progress = new Progress({
    ...{ total: before + missing.length, start: before, label, unit: "picture" },
    ...(job.isOneOfMany ? { isLive: false } : {}),
  });
  const reader = new PictureReader(flags, model, (size) => costs.refusal(size, "--size or --batch"));
  try {
    for await (const batch of reader.batches(missing, signal, flags.batch)) {
      const { pictures, size } = batch;
      const large = await costs.announcement(size);
      if (large !== null) progress.log(`${pictures[0].name}: ${large}`);
      const onPart = costs.parts(size, pictures[0].name, progress, writer.length);
      const records = await tokensOf(model, batch, { signal, onPart });
      await writer.add(records);
      for (const record of records) {
        usage.add(Int32Array.from(record.encoding));
        await grids?.draw(record);
      }
      progress.update(writer.length, "");
    }
  } finally {
    progress.finish("");
  }
  reader.summary({ mayBeEmpty: shard !== null || writer.length > 0 });
  await writer.finish();
  const { total: tokens, used, perplexity } = usage.summary();
  print(
    `${path}: ${count(writer.length, "picture")}, ${tokens} tokens, ${used} of ` +
      `${model.vocabulary} codes used (perplexity ${perplexity.toFixed(1)})`,
  );
}

async function tokensOf(
  model: VQGAN,
  { images, pictures }: PictureBatch,
  options: { readonly signal: AbortSignal; readonly onPart: () => void },
): Promise<TokenRecord[]> {
  const [tokens, [, rows, columns]] = await asyncScope(async () => {
    const { indices } = await model.encodeInTurns(images, options);
    return [await indices.ints(), indices.shape] as const;
  });
  return pictures.map(({ name, caption }, i) => ({
    file: name,
    caption,
    encoding: Array.from(tokens.subarray(i * rows * columns, (i + 1) * rows * columns)),
    grid: [rows, columns],
  }));
}

async function headerOf(
  sources: readonly string[],
  flags: Flags,
  model: VQGAN,
  path: string,
): Promise<TokenHeader> {
  const { words, side } = preprocessing(flags, model);
  return {
    ...await modelFacts(model, path),
    grid: side === null ? null : [side / model.factor, side / model.factor],
    preprocessing: words,
    source: sources,
    shard: null,
  };
}
