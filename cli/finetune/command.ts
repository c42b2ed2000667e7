// tessera finetune: trains on pictures, starting from a checkpoint, with a new model, or from the point where a run
// stopped.
import { Command, Option } from "commander";
import { beginRun, defaultOptions, resumeRun } from "../../train/index.ts";
import { checkpointPath } from "../checkpoint.ts";
import { fetched, namesHelp } from "../fetch.ts";
import { withLoading } from "../loading.ts";
import {
  fractionOrPath,
  nonNegativeNumber,
  positiveNumber,
  precisionOption,
  resizeOption,
  wholeNumber,
  wholeNumbers,
} from "../options.ts";
import { print } from "../print.ts";
import { allReduceOption, currentRanks, ranksOption } from "../ranks.ts";
import { trainWithProgress } from "../training.ts";
import { checkOptionsApply } from "./applies.ts";
import { type Flags, newRun } from "./flags.ts";
import { augmentOption } from "./options/augment.ts";
import { codebookOptions } from "./options/codebook.ts";
import { endOptions, keepOptions } from "./options/course.ts";
import { ganOptions } from "./options/gan.ts";
import { identityOption } from "./options/identity.ts";
import { optimizerOptions } from "./options/optimizer.ts";
import { reportOptions } from "./options/report.ts";
import { rememberJob, requeuedRun } from "./requeue.ts";
import { continueRun } from "./resume.ts";
import { applyRecipe, recipeOption } from "./options/recipe.ts";
import { withConfigs } from "./taming.ts";

const examples = `
Examples:
  $ tessera finetune --from hf:boris/vqgan_f16_16384 --data faces/ --steps 2000
  $ tessera finetune --from last.ckpt --data 'photos/**/*.jpg' --random-crop --flip --lr 1e-5
  $ tessera finetune --scratch --data faces/ --lr 3e-4 --decay cosine --steps 8000 --lpips squeeze.pth lin.pth
  $ tessera finetune --resume runs/2026-05-01T12-30-00_faces
  $ tessera finetune --base configs/custom_vqgan.yaml --lpips squeeze.pth lin.pth data.params.batch_size=1
  $ tessera finetune --resume logs/2021-07-09T15-33-11_dalle_vqgan

Defaults: 1,000 steps of one picture show whether training helps, and fit any memory (one to two hours for the
published model on two CPU cores). The learning rate is batch x accumulate x base rate and stays constant, both as in
taming; --lr sets it directly. The discriminator starts at step 0, because that of a checkpoint is already trained,
and half way through with --scratch, because a new model has to learn shapes first. Dead codes of a checkpoint are
not restarted (--restart-dead-codes 0), so that tokens keep their meaning.

The last lines name the best checkpoint by rec_loss on the pictures kept back. It is the one that the run started
from if no step was better. Each run gets a folder with config.json, metrics.jsonl, images/,
checkpoints/last.safetensors (and the best one) and, at the end, loss.png and before-after.png. Ctrl-C saves the run
and stops, and so do SIGTERM and a closed terminal (but not below nohup); a second Ctrl-C stops at once. The exit
code is then 128 and the signal's number: 130 for Ctrl-C.

--resume goes on with the same bits. These options may change: --steps, --epochs, --stop-when, --patience, --data,
--val, --lr, --lr-of, --lr-floor, --batch, --accumulate, --clip, --weight-decay, --precision, --lpips, --no-lpips,
--keep, --save-minutes, --tensorboard and the four --...-every. It says what has changed, and which pictures are not
as they were. A checkpoint that is not the run's last one goes on in a new folder.

The codebook of a new model (--scratch) starts with k-means centres of the encoder's first vectors, because with
taming's start most codes are never used. Codes that were not chosen for 100 steps move to vectors of the current
pictures (--restart-dead-codes; 0 turns this off). The progress shows the share of the codes that the last tokens
used, and their perplexity; both are counted over four tokens for each code.

--base reads taming's configs: model, losses and file lists, merged in order. Assignments at the end change them,
and options override both. Without a ckpt_path the model is new. A perceptual network is not downloaded: see
--lpips. A log folder of taming's needs no --base: --resume reads its configs first, as main.py does.`;

export function finetuneCommand(): Command {
  const command = new Command("finetune").description(
    "train on pictures: fine-tune a model, train a new one, or resume a run",
  ).argument("[settings...]", "changes to --base, such as model.params.n_embed=1024");
  const group = (title: string, ...options: Option[]) => {
    for (const option of options) command.addOption(option.helpGroup(title));
  };
  group(
    "Where to start (one of):",
    new Option(
      "--from <file>",
      `weights to start from: .ckpt, .pt, .safetensors, a Flax folder, or the folder of a run; ${namesHelp}`,
    ),
    new Option("--scratch", "a new model (see Model)"),
    new Option(
      "--resume <run>",
      "a run to continue exactly: its folder or a checkpoint; or one of taming's, with the configs in its log folder",
    ).conflicts([
      "from",
      "scratch",
    ]),
  );
  group(
    "Configs of taming:",
    new Option(
      "--base <file>",
      "a YAML file with these settings; if given several times, later files override earlier ones",
    )
      .argParser((file: string, before: string[] | undefined) => [...before ?? [], file]),
  );
  group(
    "Pictures:",
    new Option("--data <source...>", "folders, globs, .txt lists or pictures"),
    new Option("--size <pixels>", "side of the squares (default: the model's resolution)").argParser(
      wholeNumber(1),
    ),
    new Option("--random-crop", "crop at random instead of at the centre"),
    new Option("--flip", "mirror half of the pictures"),
    augmentOption(),
    resizeOption(),
    new Option(
      "--val <source>",
      "pictures to measure on, which are not learnt from: a folder, or the fraction of --data to keep back",
    )
      .argParser(fractionOrPath).default(
        null,
        "a tenth, at most 24 pictures, because each measurement takes about a second a picture; none of fewer than 5",
      ),
  );
  group(
    "Training:",
    recipeOption(),
    new Option("--steps <n>", `total steps (default: ${defaultOptions.steps})`).argParser(wholeNumber(1)),
    ...endOptions,
    number("--batch <n>", "pictures per batch", 1, defaultOptions.batch),
    number(
      "--accumulate <n>",
      "batches per step, whose gradients are averaged",
      1,
      defaultOptions.accumulate,
    ),
    new Option(
      "--base-lr <rate>",
      "learning rate for one picture a step (default: 4.5e-6 for 128 channels as in taming, and four times as much for " +
        "64, because small models learn too little at that)",
    )
      .argParser(positiveNumber),
    new Option("--lr <rate>", "learning rate for any batch size").argParser(positiveNumber).conflicts(
      "baseLr",
    ),
    number("--warmup <n>", "steps over which the learning rate rises", 0, 0),
    new Option("--decay <kind>", "course of the learning rate over the run").choices([
      "constant",
      "cosine",
      "linear",
    ]).default("constant"),
    new Option("--lr-floor <rate>", "learning rate at the end of the decay (default: 0)").argParser(
      nonNegativeNumber,
    ),
    ...optimizerOptions,
    precisionOption(),
    number("--seed <n>", "seed of the order, the crops and new weights", 0, defaultOptions.seed),
  );
  group("Several processes:", ranksOption(), allReduceOption());
  group("Codebook:", ...codebookOptions());
  group(
    "Losses:",
    new Option(
      "--lpips <files...>",
      "perceptual network: files of classifier and heads, their folder, or a checkpoint",
    ),
    new Option(
      "--no-lpips",
      "train without a perceptual network; results are blurrier (default: the network in --from, if it has one)",
    ),
    identityOption,
    new Option(
      "--taming-exact",
      "recompute the reconstruction for the discriminator as taming did, which is slower",
    ),
    new Option("--lpips-dropout", "dropout inside LPIPS, which taming had by accident"),
  );
  group("GAN:", ...ganOptions());
  group(
    "Output:",
    new Option("--out <folder>", "the folder for run folders").default("runs"),
    new Option("--name <name>", "last part of the run folder's name (default: the name of the data)"),
    number("--log-every <n>", "steps between lines of metrics.jsonl", 1, defaultOptions.logEvery),
    number("--image-every <n>", "steps between pictures", 1, defaultOptions.imageEvery),
    number("--save-every <n>", "steps between checkpoints", 1, defaultOptions.saveEvery),
    ...keepOptions,
    new Option(
      "--val-every <n>",
      "steps between measurements (default: an eighth of --steps, at most 500, often enough to see when it gets worse)",
    ).argParser(wholeNumber(1)),
    ...reportOptions,
  );
  group(
    "Model (with --scratch):",
    new Option("--preset <name>", "source of all other settings (default: faces)")
      .choices(["f16-16384", "faces"]),
    new Option("--ch <n>", "channels at full resolution, a multiple of 32").argParser(wholeNumber(1)),
    new Option("--ch-mult <list>", "multiples of --ch level by level, such as 1,2,2,4").argParser(
      wholeNumbers,
    ),
    new Option("--res-blocks <n>", "residual blocks per level").argParser(wholeNumber(1)),
    new Option("--attn <list>", "resolutions with attention").argParser(wholeNumbers),
    new Option("--z-channels <n>", "channels before quantization").argParser(wholeNumber(1)),
    new Option("--embed-dim <n>", "values per code").argParser(wholeNumber(1)),
    new Option(
      "--quantizer <kind>",
      "how vectors become codes: nearest, or normalized, by direction alone as in LlamaGen, with few values per code " +
        "(--embed-dim 8) (default: nearest)",
    ).choices(["nearest", "normalized"]),
    new Option("--codes <n>", "codes in the codebook").argParser(wholeNumber(1)),
    new Option("--disc-ndf <n>", "channels of the discriminator's first layer").argParser(wholeNumber(1)),
    new Option("--disc-layers <n>", "layers of the discriminator with batch norm").argParser(wholeNumber(1)),
  );
  return command.addHelpText("after", examples).action(
    async (settings: string[], _flags, command: Command) => await run(settings, command),
  );
}

/** An option whose value is a whole number from `least` on. */
function number(flags: string, text: string, least: number, standard: number): Option {
  return new Option(flags, text).argParser(wholeNumber(least)).default(standard);
}

async function run(settings: readonly string[], command: Command): Promise<void> {
  const recipe = applyRecipe(command), given = command.opts<Flags>();
  const { flags: named, notes } = await withConfigs(given, command, settings);
  if (named.resume === undefined) { // a mistake in the options costs no download
    newRun(named);
    checkOptionsApply(named, command);
  }
  const flags = await withFetched(named);
  print(...recipe === null ? [] : [recipe], ...notes);
  const ranks = currentRanks(), requeued = await requeuedRun(flags.out, ranks);
  const started = await withLoading(async (loading) => {
    if (requeued !== null) return await resumeRun(requeued, {}, loading, ranks);
    const run = flags.resume === undefined
      ? await beginRun({ ...newRun(flags), loading, ranks })
      : await continueRun(flags.resume, flags, command, loading);
    if (ranks.isFirst) await rememberJob(run.folder.path);
    return run;
  });
  await trainWithProgress(started, "fine-tune");
}

/** Downloads the checkpoints that are named and not given by their paths, and finds that of a run. */
async function withFetched(flags: Flags): Promise<Flags> {
  const { from, lpips } = flags;
  const files: string[] = [];
  for (const file of Array.isArray(lpips) ? lpips : []) files.push(await fetched(file));
  return {
    ...flags,
    ...(from === undefined ? {} : { from: await checkpointPath(from) }),
    ...(files.length > 0 ? { lpips: files } : {}),
  };
}
