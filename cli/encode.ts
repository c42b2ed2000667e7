// tessera encode: pictures to tokens.
import { mkdir } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Command } from "commander";
import { Progress, savePng, tokenGrid } from "../data/index.ts";
import { CodebookUsage } from "../nn/index.ts";
import { asyncScope } from "../src/index.ts";
import {
  eachPicture,
  type ModelFlags,
  modelOptions,
  namer,
  openModel,
  type PictureFlags,
  pictureOptions,
} from "./model.ts";
import { count } from "./options.ts";
import { headerOf, type PictureTokens, writeTokens } from "./tokens.ts";

interface Flags extends ModelFlags, PictureFlags {
  readonly out: string;
  readonly grids?: boolean;
}

const examples = `
Examples:
  $ tessera encode --model last.ckpt face.jpg
  $ tessera encode --model last.ckpt --out faces.jsonl --grids faces/

Each line of the file is {"path", "grid": [rows, columns], "indices": [...]}, row by row; the first line says how the
tokens were made. --out NAME.json writes one JSON document instead.`;

export function encodeCommand(): Command {
  const command = new Command("encode").description("pictures to tokens")
    .argument("<pictures...>", "folders, globs, .txt lists or pictures");
  for (const option of [...modelOptions(), ...pictureOptions()]) command.addOption(option);
  return command
    .option("-o, --out <file>", "token file, .jsonl or .json", "tokens.jsonl")
    .option("--grids", "also draw each token grid as coloured tiles, a PNG beside the file")
    .addHelpText("after", examples)
    .action(encode);
}

async function encode(sources: string[], flags: Flags): Promise<void> {
  const { model, path: modelPath } = await openModel(flags);
  const folder = dirname(flags.out);
  await mkdir(folder, { recursive: true });
  const nameOf = namer(folder);
  const usage = new CodebookUsage(model.config.nEmbed);
  const encoded: PictureTokens[] = [];
  let progress: Progress | null = null;
  for await (const { path, images, index, total } of eachPicture(sources, flags, model)) {
    progress ??= new Progress({ total, label: "encode", unit: "picture" });
    const [indices, [, rows, columns]] = await asyncScope(async () => {
      const { indices } = model.encode(images);
      return [await indices.ints(), indices.shape] as const;
    });
    usage.add(indices);
    encoded.push({ path, grid: [rows, columns], indices: [...indices] });
    if (flags.grids) {
      const tile = Math.max(model.factor, 32);
      await savePng(
        nameOf(path, ".tokens.png"),
        await tokenGrid(indices, [rows, columns], { tile, numbers: true }),
      );
    }
    progress.update(index + 1);
  }
  progress?.finish();
  await writeTokens(flags.out, await headerOf(model, modelPath), encoded);
  const { total, used, perplexity } = usage.summary();
  console.log(
    `${join(flags.out)}: ${count(encoded.length, "picture")}, ${total} tokens, ${used} of ` +
      `${model.config.nEmbed} codes used (perplexity ${perplexity.toFixed(1)})`,
  );
}
