// tessera reconstruct: encodes and decodes pictures, saves the results side by side with the originals, and measures
// how close they are.
import { dirname } from "node:path";
import { Command } from "commander";
import { makeFolder } from "../data/files/atomic.ts";
import { eachSample, savePng, sideBySide, toPictures } from "../data/index.ts";
import type { VQGAN } from "../nn/index.ts";
import { asyncScope, currentBackend } from "../src/index.ts";
import { inTurns } from "../src/parts.ts";
import { psnr } from "../train/index.ts";
import { ssimParts } from "../train/metrics.ts";
import { Costs } from "./cost.ts";
import { type ModelFlags, modelOptions, openModel } from "./model.ts";
import { checkRows, count, forceOption, type Rows, rowsOption } from "./options.ts";
import { outputPaths, refuseExisting } from "./outputs.ts";
import { listNames, only } from "./listing.ts";
import { type PictureFlags, pictureOptions, PictureReader } from "./pictures.ts";
import { print } from "./print.ts";
import { Progress, shortWork } from "./progress.ts";
import { stoppable } from "./stoppable.ts";

interface Flags extends ModelFlags, PictureFlags {
  readonly out: string;
  readonly rows?: Rows;
  readonly force?: boolean;
}

const examples = `
Examples:
  $ tessera reconstruct --model last.ckpt face.jpg
  $ tessera reconstruct --model last.ckpt --size 256 --out out 'photos/*.jpg'

Each PNG holds the original on the left and the reconstruction on the right. PSNR is in dB over the 8-bit RGB pixels,
SSIM over the brightness with a Gaussian window of 11x11. Results keep the names and subfolders of the pictures.`;

export function reconstructCommand(): Command {
  const command = new Command("reconstruct").description(
    "encode and decode pictures, and show the result next to the original",
  )
    .argument("<pictures...>", "folders, globs, .txt lists, .tar archives or pictures");
  for (const option of [...modelOptions(), ...pictureOptions()]) command.addOption(option);
  return command.option("-o, --out <folder>", "the folder for the PNGs", "reconstructions")
    .addOption(rowsOption("only these pictures, counted from 0 in their order, such as 0,5,10-20"))
    .addOption(forceOption("replace results that are there already"))
    .addHelpText("after", examples).action(reconstruct);
}

async function reconstruct(sources: string[], flags: Flags): Promise<void> {
  const { model } = await openModel(flags, "both");
  let done = 0;
  await stoppable(() => `stopped after ${count(done, "picture")} in ${flags.out}`, async (signal) => {
    const names = await listNames(sources, signal);
    checkRows(flags.rows, names.length, "pictures");
    const paths = outputPaths(flags.out, names, ".png");
    const isChosen = (_: unknown, row: number) => flags.rows?.has(row) ?? true;
    const outs = paths.filter(isChosen);
    if (!flags.force) await refuseExisting(outs);
    const outOf = new Map(names.map((name, i) => [name, paths[i]] as const).filter(isChosen));
    await compare(model, sources, outOf, flags, signal, () => done++);
  });
}

/** Compares pictures with what the model makes of them, and saves each pair. @param outOf where, by the picture's name */
async function compare(
  model: VQGAN,
  sources: string[],
  outOf: ReadonlyMap<string, string>,
  flags: Flags,
  signal: AbortSignal,
  onDone: () => void,
): Promise<void> {
  const costs = new Costs(model), total = outOf.size;
  const reader = new PictureReader(flags, model, (size) => costs.refusal(size, "--size"));
  const progress = new Progress({ total, label: "reconstruct", unit: "picture", patience: shortWork });
  const samples = only(eachSample(sources, { onLeftOut: () => {}, signal }), new Set(outOf.keys()));
  let done = 0, psnrs = 0, ssims = 0;
  try {
    for await (const batch of reader.batches(samples, signal)) {
      const { pictures: [{ name, picture }], images, size } = batch, out = outOf.get(name)!;
      const large = await costs.announcement(size);
      if (large !== null) progress.log(`${name}: ${large}`);
      const onPart = costs.parts(size, name, progress, done);
      const floats = await asyncScope(async () =>
        await (await model.reconstructInTurns(images, { signal, onPart })).floats()
      );
      const [made] = toPictures(floats, images.shape, model.range);
      const noise = psnr(picture, made);
      const likeness = await inTurns(currentBackend(), ssimParts(picture, made), { signal });
      done++;
      psnrs += noise;
      ssims += likeness;
      await makeFolder(dirname(out));
      await savePng(out, await sideBySide([[picture, made]]));
      onDone();
      const place = total > 1 ? `${done}/${total} ` : "";
      progress.log(
        `${place}${name} -> ${out}: PSNR ${noise.toFixed(2)} dB, SSIM ${likeness.toFixed(4)}`,
      );
      progress.update(done, "");
    }
  } finally {
    progress.erase();
  }
  reader.summary();
  if (done > 1) {
    print(
      `mean of ${count(done, "picture")}: PSNR ${(psnrs / done).toFixed(2)} dB, SSIM ${
        (ssims / done).toFixed(4)
      }`,
    );
  }
}
