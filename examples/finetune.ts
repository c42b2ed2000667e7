// Fine-tunes a model from a script, as `tessera finetune` does: with a folder for the run, measurements and checkpoints.
//   deno run -A examples/finetune.ts [steps] [folder] [checkpoint]      (or: bun examples/finetune.ts)
// Without a folder it draws 20 cartoons of 64x64 pixels into cartoons64/, and keeps 4 of them back to measure on. Writes a
// folder in runs/ (47 MB, mostly the checkpoint with its optimizers) and finetune.png. Expect the PSNR to rise from 18.6 to
// 18.8 dB: 60 steps on 16 cartoons change colours and outlines. `tessera demo` shows what 250 steps on 320 cartoons do.
import process from "node:process";
import { fileURLToPath } from "node:url";
import { beginRun, defaultOptions, grid, readImage, savePng, train, VQGAN } from "../mod.ts";
import { writeCartoonFaces } from "../mod.ts";

const shipped = fileURLToPath(new URL("../models/faces.safetensors", import.meta.url)), size = 64;
const [steps = "60", folder = "cartoons64", checkpoint = shipped] = process.argv.slice(2);
if (process.argv[3] === undefined) await writeCartoonFaces(folder, 20, size, 1);

const run = await beginRun({
  start: {
    from: checkpoint,
    overrides: { lossconfig: { discStart: Math.round(0.5 * Number(steps)), discWeight: 0.1 } }, // a late and gentle GAN
  },
  perceptual: "none", // LPIPS does not come with Tessera; files of its weights go here, or "inside" for those of the checkpoint
  options: {
    ...defaultOptions, // every other option of the command line has a field here too
    data: [folder],
    size,
    steps: Number(steps),
    lr: 9e-4, // cartoons are far from what the model knows; leave this out for photographs
    decay: "cosine",
    flip: true,
    val: 0.2,
    valEvery: Number(steps),
    saveEvery: Number(steps),
    imageEvery: Number(steps),
    name: "by-api",
  },
  out: "runs",
});
for (const { text } of run.notes) console.log(text);

// Ctrl-C ends the run after its step, which is saved; `resumeRun` goes on from there.
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());
const monitor = { update: () => {}, log: (line: string) => console.log(line) };
const outcome = await train(run, { monitor, signal: stop.signal });
const psnr = (values: typeof outcome.before) => values?.["val/psnr"]?.toFixed(2);
console.log(`PSNR of pictures kept back: ${psnr(outcome.before)} -> ${psnr(outcome.after)} dB`);
console.log(outcome.checkpoint);

const rows = [];
for (const path of run.samples.paths.slice(0, 4)) rows.push([await readImage(path, { size })]);
for (const from of [checkpoint, outcome.checkpoint]) {
  const model = await VQGAN.load(from);
  for (const row of rows) {
    const { tokens, grid } = await model.tokensOf(row[0], { size });
    row.push(await model.pictureOf(tokens, grid));
  }
  model.dispose();
}
await savePng("finetune.png", grid(rows.flat(), { columns: 3 }));
console.log("finetune.png: pictures, and what comes back before and after");
