// tessera demo: fine-tunes the model that comes with Tessera on pictures that it draws itself. It downloads nothing.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { Command, Option } from "commander";
import { readImage, savePng, toFloats, tokenGrid, writeCartoonFaces } from "../data/index.ts";
import { asyncScope, tensor } from "../src/index.ts";
import { beginRun, defaultCodebook, defaultOptions, type Run } from "../train/index.ts";
import { checkpointPath } from "./checkpoint.ts";
import { nonNegativeNumber, positiveNumber, wholeNumber } from "./options.ts";
import { print } from "./print.ts";
import { Progress } from "./progress.ts";
import { shippedModel } from "./shipped.ts";
import { trainWithProgress } from "./training.ts";

/** The side of the pictures in pixels. The model was trained with this size. */
const size = 128;
/**
 * The share of the steps before the discriminator counts. Colours and outlines come faster without it, and at the end it
 * makes the eyes sharp.
 */
const ganFrom = 0.4;

interface Flags {
  readonly from?: string;
  readonly steps: number;
  readonly faces: number;
  readonly batch: number;
  readonly lr: number;
  readonly discWeight: number;
  readonly seed: number;
  readonly out: string;
}

const examples = `
Examples:
  $ tessera demo
  $ tessera demo --steps 600 --seed 7

A small VQGAN that Tessera trained on photographs of faces learns cartoon faces, which the command draws itself. It
trains on L1 and GAN losses only: the perceptual network (LPIPS), which tessera finetune needs, does not come with
Tessera.`;

export function demoCommand(): Command {
  const option = (flags: string, text: string, standard: number) =>
    new Option(flags, text).argParser(wholeNumber(1)).default(standard);
  return new Command("demo").description("fine-tune the small faces model on cartoons, in a few minutes")
    .option("--from <file>", "another model to start from (default: models/faces.safetensors)")
    .addOption(option("--steps <n>", "training steps", 250))
    .addOption(option("--faces <n>", "cartoon faces to draw", 320))
    .addOption(option("--batch <n>", "pictures per batch", 1))
    .addOption(new Option("--lr <rate>", "learning rate").argParser(positiveNumber).default(9e-4))
    .addOption(
      new Option("--disc-weight <factor>", "weight of the GAN loss").argParser(nonNegativeNumber).default(
        0.1,
      ),
    )
    .addOption(
      new Option("--seed <n>", "choice and order of the faces").argParser(wholeNumber(0)).default(23),
    )
    .option("--out <folder>", "the folder for run folders", "runs")
    .addHelpText("after", examples)
    .action(demo);
}

async function demo(flags: Flags): Promise<void> {
  const faces = join(flags.out, `cartoons-${flags.seed}-${flags.faces}`); // a folder for each set, which is always the same
  await mkdir(faces, { recursive: true });
  const drawing = new Progress({ total: flags.faces, label: "draw", unit: "face" });
  await writeCartoonFaces(faces, flags.faces, size, flags.seed, (done) => drawing.update(done));
  drawing.finish();

  const run = await beginRun({
    start: {
      from: flags.from === undefined ? await shippedModel() : await checkpointPath(flags.from),
      overrides: {
        lossconfig: { discStart: Math.round(ganFrom * flags.steps), discWeight: flags.discWeight },
      },
    },
    perceptual: "none",
    out: flags.out,
    options: {
      ...defaultOptions,
      data: [faces],
      size,
      steps: flags.steps,
      batch: flags.batch,
      lr: flags.lr,
      seed: flags.seed,
      decay: "cosine",
      val: 0.1,
      flip: true,
      codebook: { ...defaultCodebook, restartEvery: 15 },
      imageEvery: 100,
      saveEvery: flags.steps,
      valEvery: flags.steps,
      name: "demo",
    },
  });
  const { interrupted } = await trainWithProgress(run, "fine-tune");
  if (interrupted) return;
  print(`tokens of one face: ${await drawTokens(run)}`);
}

/** Draws the tokens of the first sample as coloured tiles into the run's folder. @returns the path of the picture */
async function drawTokens({ samples, trainer: { model }, folder, settings }: Run): Promise<string> {
  const { height, width, pixels } = await readImage(samples.paths[0], { size: settings.size });
  const [indices, [, rows, columns]] = await asyncScope(async () => {
    const { indices } = model.encode(tensor(toFloats(pixels, model.range), [1, height, width, 3]));
    return [await indices.ints(), indices.shape] as const;
  });
  const path = join(folder.path, "tokens.png");
  await savePng(path, await tokenGrid(indices, [rows, columns], { tile: 40, numbers: true }));
  return path;
}
