// tessera decode: turns tokens into pictures.
import { mkdir } from "node:fs/promises";
import { Command } from "commander";
import {
  dalleMiniBos,
  openTokens,
  type Picture,
  savePng,
  type TokenRecord,
  toPictures,
} from "../data/index.ts";
import type { VQGAN } from "../nn/index.ts";
import { asyncScope } from "../src/index.ts";
import { type ModelFlags, modelOptions, namer, openModel } from "./model.ts";
import { count } from "./options.ts";
import { print, printAside } from "./print.ts";
import { Progress } from "./progress.ts";
import { checkTokens, dalleMiniOption, mismatches, modelFacts } from "./tokens.ts";

interface Flags extends ModelFlags {
  readonly out: string;
}

const examples = `
Examples:
  $ tessera decode --model last.ckpt tokens.parquet
  $ tessera decode --model last.ckpt --out pictures tokens.jsonl
  $ tessera decode --model last.ckpt --dalle-mini generated.parquet

Any grid works: 16x16 tokens of an f16 model become 256x256 pixels. Files of other programs work if each row
has encoding, a list of tokens, and grid, [rows, columns], which is optional if the tokens fill a square. All tokens
are checked against the model's vocabulary before anything is written.`;

export function decodeCommand(): Command {
  const command = new Command("decode").description("turn tokens into pictures")
    .argument("<tokens>", "token file: .parquet, .jsonl or .tsv");
  for (const option of modelOptions()) command.addOption(option);
  return command.option("-o, --out <folder>", "the folder for the PNGs", "decoded")
    .addOption(
      dalleMiniOption("read tokens of DALL-E mini: pixels in [0, 1], a first token 16384 is removed"),
    )
    .addHelpText("after", examples).action(decode);
}

async function decode(path: string, flags: Flags): Promise<void> {
  const { header, records } = await openTokens(path, flags.dalleMini ? { bos: dalleMiniBos } : {});
  const { model, path: modelPath } = await openModel(flags, "decoder");
  let total = 0;
  for await (const record of records()) {
    checkTokens(path, record, model.vocabulary);
    total++;
  }
  if (total === 0) throw new Error(`${path}: there are no tokens in this file`);
  if (header) {
    const own = await modelFacts(model, modelPath);
    for (const problem of mismatches(header, own)) printAside(`warning: ${path} ${problem}`);
  }
  await mkdir(flags.out, { recursive: true });
  const nameOf = namer(flags.out);
  const progress = new Progress({ total, label: "decode", unit: "picture" });
  let saved = Promise.resolve();
  for await (const record of records()) {
    const picture = await pictureOf(model, record);
    await saved; // one picture is compressed and written while the model makes the next
    saved = savePng(nameOf(record.file, ".png"), picture);
    saved.catch(() => {}); // the await above or below throws the error
    progress.tick();
  }
  await saved;
  progress.finish();
  print(`${flags.out}: ${count(total, "picture")}`);
}

async function pictureOf(model: VQGAN, { encoding, grid }: TokenRecord): Promise<Picture> {
  const [picture] = await asyncScope(async () => {
    const made = model.decodeTokens(encoding, grid);
    return toPictures(await made.floats(), made.shape, model.range);
  });
  return picture;
}
