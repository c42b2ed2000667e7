// tessera encode: writes the tokens of pictures, and their captions, to one file. After a kill, the same command
// continues where it stopped.
import { createHash } from "node:crypto";
import { dirname, join, normalize, parse } from "node:path";
import { Command, Option } from "commander";
import { makeFolder } from "../data/files/atomic.ts";
import { eachSample, tokenFormat, type TokenHeader, type TokenRecord, TokenWriter } from "../data/index.ts";
import { CodebookUsage, type VQGAN } from "../nn/index.ts";
import { asyncScope } from "../src/index.ts";
import { Costs } from "./cost.ts";
import { Grids } from "./grids.ts";
import { type ModelFlags, modelOptions, openModel } from "./model.ts";
import { count, forceOption, type Shard, shard, wholeNumber } from "./options.ts";
import {
  listNames,
  only,
  type PictureBatch,
  type PictureFlags,
  pictureOptions,
  PictureReader,
  preprocessing,
} from "./pictures.ts";
import { print, printAside } from "./print.ts";
import { Progress } from "./progress.ts";
import { dalleMiniOption, modelFacts } from "./tokens.ts";
import { stoppable } from "./stoppable.ts";

interface Flags extends ModelFlags, PictureFlags {
  readonly out: string;
  readonly batch: number;
  readonly shard?: Shard;
  readonly grids?: boolean;
  readonly force?: boolean;
}

const examples = `
Examples:
  $ tessera encode --model last.ckpt face.jpg
  $ tessera encode --model last.ckpt --out faces.parquet --grids faces/
  $ tessera encode --model last.ckpt --dalle-mini --shard 2/8 --out tokens.parquet shards/*.tar

The file has a row for each picture: file, caption (from the .txt of the same name, also in archives), and encoding,
which holds the tokens row by row. With --keep-shape or --size 0 it also has grid, the numbers of rows and columns.
The first line of .jsonl and .tsv files, and the metadata of .parquet files under "tessera", say how the tokens were
made. While encode works, the tokens are in FILE.partial. If encode is killed, the same command continues from there,
and no picture is missing or repeated. Pictures that are new are added to a finished file; one that another model
made is replaced only with --force. --shard 2/8 encodes a fixed eighth of the pictures and writes FILE-2-of-8.`;

export function encodeCommand(): Command {
  const command = new Command("encode").description("turn pictures into tokens")
    .argument("<pictures...>", "folders, globs, .txt lists, .tar archives or pictures");
  for (const option of [...modelOptions(), ...pictureOptions()]) command.addOption(option);
  return command
    .option("-o, --out <file>", "token file: .parquet, .jsonl or .tsv", "tokens.jsonl")
    .addOption(dalleMiniOption("make tokens as DALL-E mini did: pixels in [0, 1]"))
    .addOption(new Option("--batch <n>", "pictures per batch").argParser(wholeNumber(1)).default(1))
    .addOption(new Option("--shard <part/parts>", "encode only this part of the pictures").argParser(shard))
    .option("--grids", "also draw each token grid as coloured tiles, in a PNG next to the file")
    .addOption(forceOption("replace a finished token file that is there already"))
    .addHelpText("after", examples)
    .action(encode);
}

async function encode(sources: string[], flags: Flags): Promise<void> {
  const out = shardPath(flags);
  tokenFormat(out); // refuses a wrong ending before the model is loaded
  const { model, path: modelPath } = await openModel(flags, "encoder");
  const header = await headerOf(sources, flags, model, modelPath);
  let writer: TokenWriter | null = null;
  const stopped = () => {
    if (!writer?.length) return "stopped before the first picture";
    return `stopped; the same command continues after ${count(writer.length, "picture")}`;
  };
  await stoppable(stopped, async (signal) => {
    const usage = new CodebookUsage(model.vocabulary);
    const names = await listNames(sources, signal);
    const grids = flags.grids ? new Grids(out, names, model) : null;
    await makeFolder(dirname(out));
    writer = await TokenWriter.open(out, header, {
      replace: flags.force,
      async onKept(record) {
        signal.throwIfAborted();
        usage.add(Int32Array.from(record.encoding));
        await grids?.drawMissing(record);
      },
    });
    try {
      await encodeInto(writer, sources, partOf(names, flags.shard), { flags, model, usage, grids, signal });
    } finally {
      await writer.close();
    }
  });
}

/** What a call of encode works with. */
interface Job {
  readonly flags: Flags;
  readonly model: VQGAN;
  readonly usage: CodebookUsage;
  readonly grids: Grids | null;
  readonly signal: AbortSignal;
}

/** Encodes the pictures that are not in the file yet, and finishes it. @param names those that belong in it */
async function encodeInto(writer: TokenWriter, sources: string[], names: string[], job: Job): Promise<void> {
  const { flags, model, usage, grids, signal } = job, { path } = writer;
  const wanted = new Set(names), missing = new Set(names.filter((name) => !writer.has(name)));
  if (wanted.size < names.length) {
    printAside(`left out: ${count(names.length - wanted.size, "picture")} named more than once`);
  }
  const gone = writer.length - (wanted.size - missing.size);
  if (gone > 0) print(`${path} keeps ${count(gone, "picture")} that the sources do not have`);
  if (writer.isFinished && missing.size === 0) {
    print(
      `${normalize(path)} is finished: ${
        count(writer.length, "picture")
      } by the same model (--force encodes again)`,
    );
    return;
  }
  if (writer.length > 0) {
    print(`continuing: ${count(writer.length, "picture")} in ${path}${writer.isFinished ? "" : ".partial"}`);
  }
  const before = writer.length, total = before + missing.size;
  const progress = new Progress({ total, start: before, label: "encode", unit: "picture" });
  const costs = new Costs(model);
  const reader = new PictureReader(flags, model, (size) => costs.refusal(size, "--size or --batch"));
  const samples = only(eachSample(sources, { onLeftOut: () => {}, signal }), missing);
  try {
    for await (const batch of reader.batches(samples, signal, flags.batch)) {
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
  reader.summary(writer.length);
  await writer.finish();
  const { total: tokens, used, perplexity } = usage.summary();
  print(
    `${normalize(path)}: ${count(writer.length, "picture")}, ${tokens} tokens, ${used} of ` +
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
    shard: flags.shard ? `${flags.shard.part}/${flags.shard.of}` : null,
  };
}

/** Returns the path of the token file: tokens.parquet, or tokens-2-of-8.parquet for a part. */
function shardPath({ out, shard }: Flags): string {
  if (!shard) return out;
  const { dir, name, ext } = parse(out);
  return join(dir, `${name}-${shard.part}-of-${shard.of}${ext}`);
}

/**
 * Returns the names of one part. They are chosen by their hash and not by their order, so that pictures that are added later
 * do not move others to another part.
 */
function partOf(names: string[], shard?: Shard): string[] {
  if (!shard) return names;
  const partOf = (name: string) => createHash("sha256").update(name).digest().readUInt32LE() % shard.of + 1;
  return names.filter((name) => partOf(name) === shard.part);
}
