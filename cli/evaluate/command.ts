// tessera evaluate: measures one or more models on pictures, and says by which protocol.
import { basename, join } from "node:path";
import process from "node:process";
import { Command, Option } from "commander";
import deno from "../../deno.json" with { type: "json" };
import { printable } from "../../data/formats/text.ts";
import { ImageDataset, listImages, type Resize } from "../../data/index.ts";
import type { VQGAN } from "../../nn/index.ts";
import { evaluate, type Evaluation, evaluationFiles, writeEvaluation } from "../../train/index.ts";
import { jsonOf, tableOf } from "../../train/evaluate/report.ts";
import { type ModelFlags, modelOptions, openModel } from "../model.ts";
import { namesHelp } from "../fetch.ts";
import { count, forceOption, resizeOption, UsageError, wholeNumber } from "../options.ts";
import { refuseExisting } from "../outputs.ts";
import { print, printAside } from "../print.ts";
import { Progress, shortWork } from "../progress.ts";
import { currentRanks, ranksOption } from "../ranks.ts";
import { stoppable } from "../stoppable.ts";
import { openJudges } from "./judges.ts";

/** The values of the options. */
interface Flags extends Omit<ModelFlags, "model"> {
  readonly model?: string[];
  readonly data?: string[];
  readonly size?: number;
  readonly resize: Resize;
  readonly batch: number;
  readonly lpips?: string[];
  readonly inception?: string;
  readonly faces: boolean;
  readonly seed: number;
  readonly out: string;
  readonly json?: boolean;
  readonly force?: boolean;
}

const examples = `
Examples:
  $ tessera evaluate --model runs/2026-05-01T12-30-00_faces --data faces/
  $ tessera evaluate --model before.ckpt --model after.ckpt --data faces/ --lpips alexnet.pth lpips_alex.pth
  $ tessera evaluate --model last.ckpt --data 'photos/**/*.jpg' --inception pt_inception-2015-12-05-6726825d.pth
  $ mpirun -n 4 --bind-to none tessera evaluate --model last.ckpt --data faces/

Each picture is compared with its own reconstruction, rounded to 8 bits. Each mean has a 95 % interval over the
pictures. With several models, the differences from the first one are shown too. They are taken picture by picture,
which tells small differences from chance far better than two separate intervals do. Use pictures that no model was
trained on: the command cannot know which ones a model has seen.

LPIPS and the Fréchet distance of SqueezeNet need --lpips; the usual FID needs --inception; nothing is downloaded.
Faces are found and compared by the networks of the npm package @vladmandic/face-api. The folder of --out gets
evaluation.json with the numbers of each picture, evaluation.html, and sheets of the worst pictures.`;

export function evaluateCommand(): Command {
  const command = new Command("evaluate").description(
    "measure how close reconstructions are to pictures, with one model or several",
  );
  const options = [
    new Option(
      "-m, --model <file>",
      `checkpoint or a run's folder; give it again to compare; ${namesHelp} (default: the small faces model)`,
    ).argParser((file: string, before: string[] | undefined) => [...before ?? [], file]),
    new Option("--data <source...>", "folders, globs, .txt lists, .tar archives or pictures"),
    new Option(
      "--size <pixels>",
      "shorter side, of which the middle square is cut out (default: the first model's resolution)",
    ).argParser(wholeNumber(1)),
    resizeOption(),
    new Option("--batch <n>", "pictures that are computed together").argParser(wholeNumber(1)).default(1),
    new Option(
      "--lpips <files...>",
      "perceptual networks: files of classifiers and heads, folders with them, or a checkpoint; all that are found are used",
    ),
    new Option(
      "--inception <file>",
      "weights for the usual FID: pt_inception-2015-12-05-6726825d.pth of pytorch-fid",
    ),
    new Option("--no-faces", "do not look for faces"),
    new Option("--seed <n>", "seed of the intervals' draws").argParser(wholeNumber(0)).default(0),
    new Option("-o, --out <folder>", "the folder for the results").default("evaluation"),
    new Option("--json", "print everything as JSON instead of a table"),
    forceOption("replace results that are there already"),
    ...modelOptions().filter(({ long }) => long !== "--model"),
    ranksOption(),
  ];
  for (const option of options) command.addOption(option);
  return command.addHelpText("after", examples).action(run);
}

async function run(flags: Flags): Promise<void> {
  if (!flags.data?.length) throw new UsageError("--data is missing: a folder, a glob or a list of pictures");
  const files = flags.model ?? [undefined];
  if (new Set(files).size < files.length) throw new UsageError("--model names the same file twice");
  const ranks = currentRanks(), results = evaluationFiles(files.length).map((name) => join(flags.out, name));
  if (!flags.force) await ranks.first("looking", () => refuseExisting(results));
  let done = 0;
  const evaluation = await stoppable(
    () => `stopped after ${count(done, "picture")}; nothing was written`,
    async (signal) => await measured(flags, files, flags.data!, signal, (pictures) => done = pictures),
  );
  if (!ranks.isFirst) return; // rank 0 says and writes everything
  // first, so that nothing is lost if the files cannot be written
  if (flags.json) print(plainJson(jsonOf(evaluation)));
  else printTable(evaluation);
  for (const warning of evaluation.warnings) printAside(`warning: ${warning}`);
  await writeEvaluation(flags.out, evaluation);
  if (!flags.json) print(`results: ${results.join(", ")}`);
}

/** JSON in which a terminal finds nothing to obey, and `print` nothing to escape. */
function plainJson(value: object): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}

async function measured(
  flags: Flags,
  files: readonly (string | undefined)[],
  data: readonly string[],
  signal: AbortSignal,
  onDone: (pictures: number) => void,
): Promise<Evaluation> {
  const listing = new Progress({
    label: "list",
    unit: "picture",
    patience: shortWork,
    stream: process.stderr,
  });
  const ranks = currentRanks();
  const listed = listImages(data, {
    signal: ranks.size === 1 ? signal : undefined, // ranks stop together, after a batch
    onFound: (found) => listing.update(found),
  });
  const paths = await listed.finally(() => listing.erase());
  const models: { model: VQGAN; path: string; name: string }[] = [];
  for (const [i, model] of files.entries()) {
    const opened = await openModel({ ...flags, model, size: flags.size }, "both");
    models.push({ ...opened, name: nameOf(files, i) });
  }
  const size = flags.size ?? models[0].model.config.ddconfig.resolution;
  const { judges, notes, release } = await openJudges(flags);
  const progress = new Progress({
    total: paths.length,
    label: "evaluate",
    unit: "picture",
    patience: shortWork,
    stream: process.stderr,
  });
  const onSkip = (path: string, reason: string) => progress.log(`skipped ${path}: ${reason}`);
  try {
    return await evaluate(
      models,
      new ImageDataset(paths, { size, resize: flags.resize, shuffle: false, onSkip }),
      {
        ...judges,
        ranks,
        batch: flags.batch,
        seed: flags.seed,
        notes: {
          data: data.map((one) => printable(one)).join(", "),
          models: models.map(({ name, path }) => `${name}: ${printable(path)}`).join(", "),
          ...notes,
          ...flags.precision === "f16" ? { precision: "activations of the models in f16" } : {},
          ...flags.range === "unit" ? { range: "pixels from 0 to 1 for the models" } : {},
          Tessera: `${deno.version}, ${new Date().toISOString().slice(0, 10)}`,
        },
        onProgress: (pictures) => {
          onDone(pictures);
          progress.update(pictures);
        },
        onFrechet: (space) => progress.aside(`Fréchet distance (${space})`),
        signal,
      },
    );
  } finally {
    progress.erase();
    release();
    for (const { model } of models) model.dispose();
  }
}

/** The last parts of a path that tell it from the others. */
function nameOf(files: readonly (string | undefined)[], index: number): string {
  const file = files[index];
  if (file === undefined) return "faces (shipped)";
  const short = basename(file);
  const isUnique = files.filter((other) => other !== undefined && basename(other) === short).length === 1;
  return isUnique ? short : file;
}

function printTable(evaluation: Evaluation): void {
  const { heads, rows } = tableOf(evaluation);
  print("protocol:");
  for (const [name, words] of Object.entries(evaluation.protocol)) print(`  ${name}: ${words}`);
  print("");
  const titles = Math.max(...rows.map(({ title }) => title.length));
  const widths = heads.map((head, i) =>
    Math.max(head.length, ...rows.map(({ cells }) => cells[i]?.length ?? 0))
  );
  const line = (title: string, cells: readonly string[]) =>
    [title.padEnd(titles), ...cells.map((cell, i) => cell.padEnd(widths[i]))].join("  ").trimEnd();
  print(line("", heads), ...rows.map(({ title, cells }) => line(title, cells)));
}
