// tessera reconstruct: encodes and decodes pictures, saves the results side by side with the originals, and measures
// how close they are.
import { mkdir } from "node:fs/promises";
import { Command } from "commander";
import { eachSample, savePng, sideBySide, toPictures } from "../data/index.ts";
import { asyncScope } from "../src/index.ts";
import { psnr, ssim } from "../train/index.ts";
import {
  countOf,
  eachBatch,
  type ModelFlags,
  modelOptions,
  namer,
  openModel,
  type PictureFlags,
  pictureOptions,
} from "./model.ts";
import { count } from "./options.ts";
import { print } from "./print.ts";

interface Flags extends ModelFlags, PictureFlags {
  readonly out: string;
}

const examples = `
Examples:
  $ tessera reconstruct --model last.ckpt face.jpg
  $ tessera reconstruct --model last.ckpt --size 256 --out out 'photos/*.jpg'

Each PNG holds the original on the left and the reconstruction on the right. PSNR is in dB over the 8-bit RGB pixels,
SSIM over the brightness with a Gaussian window of 11x11.`;

export function reconstructCommand(): Command {
  const command = new Command("reconstruct").description(
    "encode and decode pictures, and show the result next to the original",
  )
    .argument("<pictures...>", "folders, globs, .txt lists, .tar archives or pictures");
  for (const option of [...modelOptions(), ...pictureOptions()]) command.addOption(option);
  return command.option("-o, --out <folder>", "the folder for the PNGs", "reconstructions")
    .addHelpText("after", examples).action(reconstruct);
}

async function reconstruct(sources: string[], flags: Flags): Promise<void> {
  const { model } = await openModel(flags, "both");
  const total = await countOf(eachSample(sources));
  await mkdir(flags.out, { recursive: true });
  const nameOf = namer(flags.out);
  let done = 0, psnrs = 0, ssims = 0;
  for await (
    const { pictures: [{ name, picture }], images } of eachBatch(eachSample(sources), flags, model)
  ) {
    const floats = await asyncScope(() => model.reconstruct(images).floats());
    const [made] = toPictures(floats, images.shape, model.range);
    const noise = psnr(picture, made), likeness = ssim(picture, made);
    done++;
    psnrs += noise;
    ssims += likeness;
    const out = nameOf(name, ".png");
    await savePng(out, await sideBySide([[picture, made]]));
    const place = total > 1 ? `${done}/${total} ` : "";
    print(`${place}${name} -> ${out}: PSNR ${noise.toFixed(2)} dB, SSIM ${likeness.toFixed(4)}`);
  }
  if (done > 1) {
    print(
      `mean of ${count(done, "picture")}: PSNR ${(psnrs / done).toFixed(2)} dB, SSIM ${
        (ssims / done).toFixed(4)
      }`,
    );
  }
}
