// tessera decode: tokens to pictures.
import { mkdir } from "node:fs/promises";
import { Command } from "commander";
import { Progress, savePng, toPictures } from "../data/index.ts";
import { asyncScope } from "../src/index.ts";
import { type ModelFlags, modelOptions, namer, openModel } from "./model.ts";
import { count } from "./options.ts";
import { headerOf, readTokens } from "./tokens.ts";

interface Flags extends ModelFlags {
  readonly out: string;
}

const examples = `
Examples:
  $ tessera decode --model last.ckpt tokens.jsonl
  $ tessera decode --model last.ckpt --out pictures tokens.jsonl

Any grid works: 16x16 tokens of an f16 model become 256x256 pixels. A line may come from elsewhere, as long as it is
{"grid": [rows, columns], "indices": [...]}.`;

export function decodeCommand(): Command {
  const command = new Command("decode").description("tokens to pictures")
    .argument("<tokens>", "a file by tessera encode, .jsonl or .json");
  for (const option of modelOptions()) command.addOption(option);
  return command.option("-o, --out <folder>", "where the PNGs go", "decoded").addHelpText("after", examples)
    .action(decode);
}

async function decode(tokens: string, flags: Flags): Promise<void> {
  const { header, pictures } = await readTokens(tokens);
  const { model, path } = await openModel(flags);
  const own = await headerOf(model, path);
  if (header.codebook !== undefined && header.codebook !== own.codebook) {
    console.warn(
      `warning: ${tokens} was made with another codebook (${header.model}); pictures may make no sense`,
    );
  }
  if (header.range !== undefined && header.range !== own.range) {
    console.warn(`warning: ${tokens} was made with --range ${header.range}, not ${own.range}`);
  }
  await mkdir(flags.out, { recursive: true });
  const nameOf = namer(flags.out);
  const progress = new Progress({ total: pictures.length, label: "decode", unit: "picture" });
  for (const { path, grid, indices } of pictures) {
    const [picture] = await asyncScope(async () => {
      const made = model.decodeTokens(indices, grid);
      return toPictures(await made.floats(), made.shape, model.range);
    });
    await savePng(nameOf(path, ".png"), picture);
    progress.tick();
  }
  progress.finish();
  console.log(`${flags.out}: ${count(pictures.length, "picture")}`);
}
