// tessera encode: writes the tokens of pictures, and their captions, to one file. After a kill, the same command
// continues where it stopped.
import { createHash } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { dirname, join, normalize, parse } from "node:path";
import process from "node:process";
import { Command, Option } from "commander";
import {
  eachSample,
  type Sample,
  savePng,
  tokenGrid,
  type TokenHeader,
  type TokenRecord,
  TokenWriter,
} from "../data/index.ts";
import { CodebookUsage, type VQGAN } from "../nn/index.ts";
import { asyncScope, type Tensor } from "../src/index.ts";
import { interruptedCode, listenForInterrupt } from "./interrupt.ts";
import {
  countOf,
  eachBatch,
  type ModelFlags,
  modelOptions,
  type NamedPicture,
  namer,
  openModel,
  type PictureFlags,
  pictureOptions,
  preprocessing,
} from "./model.ts";
import { count, type Shard, shard, wholeNumber } from "./options.ts";
import { print } from "./print.ts";
import { Progress } from "./progress.ts";
import { dalleMiniOption, modelFacts } from "./tokens.ts";

interface Flags extends ModelFlags, PictureFlags {
  readonly out: string;
  readonly batch: number;
  readonly shard?: Shard;
  readonly grids?: boolean;
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
and no picture is missing or repeated. --shard 2/8 encodes a fixed eighth of the pictures and writes FILE-2-of-8.`;

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
    .addHelpText("after", examples)
    .action(encode);
}

async function encode(sources: string[], flags: Flags): Promise<void> {
  const { model, path: modelPath } = await openModel(flags, "encoder");
  const out = shardPath(flags);
  await mkdir(dirname(out), { recursive: true });
  const mine = () => partOf(eachSample(sources), flags.shard);
  const usage = new CodebookUsage(model.vocabulary);
  const total = await countOf(mine());
  const writer = await TokenWriter.open(out, await headerOf(sources, flags, model, modelPath), (record) => {
    usage.add(Int32Array.from(record.encoding));
  });
  if (writer.length > 0) print(`continuing: ${count(writer.length, "picture")} in ${out}.partial`);

  const nameOf = namer(dirname(out));
  const progress = new Progress({ total, start: writer.length, label: "encode", unit: "picture" });
  const interrupt = listenForInterrupt(() => progress.log("stopping after this batch"));
  try {
    for await (
      const { pictures, images } of eachBatch(withoutKnown(mine(), writer), flags, model, flags.batch)
    ) {
      const records = await tokensOf(model, images, pictures);
      await writer.add(records);
      for (const { file, encoding, grid } of records) {
        usage.add(Int32Array.from(encoding));
        if (flags.grids) {
          const tile = Math.max(model.factor, 32);
          await savePng(
            nameOf(file, ".tokens.png"),
            await tokenGrid(encoding, grid, { tile, numbers: true }),
          );
        }
      }
      progress.update(writer.length);
      if (interrupt.signal.aborted) break;
    }
    progress.finish();
    if (interrupt.signal.aborted) {
      await writer.close();
      print(`stopped; the same command continues after ${count(writer.length, "picture")}`);
      process.exitCode = interruptedCode;
      return;
    }
    await writer.finish();
  } finally {
    interrupt.dispose();
  }
  const { total: tokens, used, perplexity } = usage.summary();
  print(
    `${normalize(out)}: ${count(writer.length, "picture")}, ${tokens} tokens, ${used} of ` +
      `${model.vocabulary} codes used (perplexity ${perplexity.toFixed(1)})`,
  );
}

async function tokensOf(
  model: VQGAN,
  images: Tensor,
  pictures: readonly NamedPicture[],
): Promise<TokenRecord[]> {
  const [tokens, [, rows, columns]] = await asyncScope(async () => {
    const { indices } = model.encode(images);
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
 * Yields the samples of one part. They are chosen by the hash of their names and not by their order, so that pictures
 * that are added later do not move others to another part.
 */
async function* partOf(samples: AsyncIterable<Sample>, shard?: Shard): AsyncGenerator<Sample> {
  for await (const sample of samples) {
    const place = shard ? createHash("sha256").update(sample.name).digest().readUInt32LE() % shard.of + 1 : 1;
    if (!shard || place === shard.part) yield sample;
  }
}

/** Skips samples that are already in the file, and samples whose name has occurred before. */
async function* withoutKnown(samples: AsyncIterable<Sample>, writer: TokenWriter): AsyncGenerator<Sample> {
  const begun = new Set<string>();
  for await (const sample of samples) {
    if (writer.has(sample.name) || begun.has(sample.name)) continue;
    begun.add(sample.name);
    yield sample;
  }
}
