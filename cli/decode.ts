// tessera decode: turns tokens into pictures.
import { dirname } from "node:path";
import { Command } from "commander";
import { makeFolder } from "../data/files/atomic.ts";
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
import { Costs } from "./cost.ts";
import { type ModelFlags, modelOptions, openModel } from "./model.ts";
import { checkRows, count, forceOption, type Rows, rowsOption } from "./options.ts";
import { outputPaths, refuseExisting } from "./outputs.ts";
import { print, printAside } from "./print.ts";
import { Progress } from "./progress.ts";
import { checkTokens, dalleMiniOption, mismatches, modelFacts } from "./tokens/facts.ts";
import { stoppable } from "./stoppable.ts";

interface Flags extends ModelFlags {
  readonly out: string;
  readonly rows?: Rows;
  readonly force?: boolean;
}

const examples = `
Examples:
  $ tessera decode --model last.ckpt tokens.parquet
  $ tessera decode --model last.ckpt --out pictures --rows 0,5,10-20 tokens.jsonl
  $ tessera decode --model last.ckpt --dalle-mini generated.parquet

Any grid works: 16x16 tokens of an f16 model become 256x256 pixels. Files of other programs work if each row
has encoding, a list of tokens, and grid, [rows, columns], which is optional if the tokens fill a square. All tokens
are checked against the model's vocabulary before anything is written. Pictures are named after the files of their
rows, in the same subfolders.`;

export function decodeCommand(): Command {
  const command = new Command("decode").description("turn tokens into pictures")
    .argument("<tokens>", "token file: .parquet, .jsonl or .tsv");
  for (const option of modelOptions()) command.addOption(option);
  return command.option("-o, --out <folder>", "the folder for the PNGs", "decoded")
    .addOption(
      dalleMiniOption("read tokens of DALL-E mini: pixels in [0, 1], a first token 16384 is removed"),
    )
    .addOption(rowsOption("decode only these rows, counted from 0, such as 0,5,10-20"))
    .addOption(forceOption("replace pictures that are there already"))
    .addHelpText("after", examples).action(decode);
}

async function decode(path: string, flags: Flags): Promise<void> {
  const { header, records } = await openTokens(path, flags.dalleMini ? { bos: dalleMiniBos } : {});
  const { model, path: modelPath } = await openModel(flags, "decoder");
  const names: string[] = [];
  for await (const record of records()) {
    checkTokens(path, record, model.vocabulary);
    names.push(record.file);
  }
  if (names.length === 0) throw new Error(`${path}: there are no tokens in this file`);
  checkRows(flags.rows, names.length, "rows");
  if (header) {
    const own = await modelFacts(model, modelPath);
    for (const problem of mismatches(header, own)) printAside(`warning: ${path} ${problem}`);
  }
  const isChosen = (row: number) => flags.rows?.has(row) ?? true;
  const paths = outputPaths(flags.out, names, ".png");
  const wanted = paths.filter((_, row) => isChosen(row));
  if (!flags.force) await refuseExisting(wanted);

  const progress = new Progress({ total: wanted.length, label: "decode", unit: "picture" });
  let done = 0;
  const stopped = () => {
    progress.finish("");
    return `stopped after ${done} of ${count(wanted.length, "picture")} in ${flags.out}`;
  };
  const saver = new Saver();
  await stoppable(stopped, async (signal) => {
    const costs = new Costs(model);
    let row = -1;
    try {
      for await (const record of records()) {
        signal.throwIfAborted();
        if (!isChosen(++row)) continue;
        const [rows, columns] = record.grid, f = model.factor;
        const size = [1, rows * f, columns * f] as const;
        const refusal = costs.refusal(size);
        if (refusal !== null) throw new Error(`${record.file}: ${refusal}`);
        const large = await costs.announcement(size);
        if (large !== null) progress.log(`${record.file}: ${large}`);
        const onPart = costs.parts(size, record.file, progress, done);
        const picture = await pictureOf(model, record, { signal, onPart });
        await saver.save(paths[row], picture);
        progress.update(++done, "");
      }
    } finally {
      await saver.settled();
    }
  });
  progress.finish("");
  print(`${flags.out}: ${count(wanted.length, "picture")}`);
}

/** Saves one picture at a time, while the model makes the next. */
class Saver {
  #saving: Promise<void> = Promise.resolve();

  async save(path: string, picture: Picture): Promise<void> {
    await this.#saving;
    await makeFolder(dirname(path));
    this.#saving = savePng(path, picture);
    this.#saving.catch(() => {}); // the next call, or settled(), throws the error
  }

  async settled(): Promise<void> {
    await this.#saving;
  }
}

async function pictureOf(
  model: VQGAN,
  { encoding, grid }: TokenRecord,
  options: { readonly signal: AbortSignal; readonly onPart: () => void },
): Promise<Picture> {
  const [picture] = await asyncScope(async () => {
    const made = await model.decodeInTurns(encoding, grid, options);
    return toPictures(await made.floats(), made.shape, model.range);
  });
  return picture;
}
