// tessera finetune: trains on pictures, starting from a checkpoint, with a new model, or where a run stopped.
import process from "node:process";
import { Command, Option } from "commander";
import {
  beginRun,
  checkpointOf,
  defaultOptions,
  readProgress,
  type ResumeChanges,
  resumeRun,
  type Run,
} from "../../train/index.ts";
import { interruptedCode } from "../interrupt.ts";
import {
  fractionOrPath,
  nonNegativeNumber,
  positiveNumber,
  precisionOption,
  UsageError,
  wholeNumber,
  wholeNumbers,
} from "../options.ts";
import { describeOutcome, trainWithProgress } from "../training.ts";
import { continuedRun, type Flags, newRun } from "./flags.ts";
import { withConfigs } from "./taming.ts";

const examples = `
Examples:
  $ tessera finetune --from last.ckpt --data faces/ --steps 2000 --batch 1 --val 0.05
  $ tessera finetune --from last.ckpt --data 'photos/**/*.jpg' --random-crop --flip --lr 1e-5
  $ tessera finetune --scratch --data faces/ --lr 3e-4 --decay cosine --steps 8000 --lpips squeeze.pth lin.pth
  $ tessera finetune --resume runs/2026-05-01T12-30-00_faces
  $ tessera finetune --base configs/custom_vqgan.yaml --lpips squeeze.pth lin.pth data.params.batch_size=1
  $ tessera finetune --resume logs/2021-07-09T15-33-11_dalle_vqgan --data faces/

The learning rate is batch x accumulate x base rate, as in taming; --lr sets it outright. Each run gets a folder
with config.json, metrics.jsonl, images/, checkpoints/last.safetensors (and the best one by val/rec_loss), and
at the end loss.png and before-after.png. Ctrl-C saves and leaves; a second one leaves at once; exit code 130.

A new model (--scratch) gets a codebook of k-means centres of the encoder's first vectors, since taming's start
lets most codes die, and codes that were not chosen for 100 steps move to vectors of the current pictures
(--restart-dead-codes; 0 turns it off). Its discriminator begins half way unless --disc-start says otherwise.

--base takes taming's configs: model, losses and file lists, merged in order. Assignments at the end change them,
and options win over them. Without a ckpt_path the model is new. A perceptual network is not downloaded: see
--lpips.`;

export function finetuneCommand(): Command {
  const command = new Command("finetune").description(
    "learn from pictures: fine-tune, train anew, or resume",
  ).argument("[settings...]", "changes to --base, such as model.params.n_embed=1024");
  const group = (title: string, ...options: Option[]) => {
    for (const option of options) command.addOption(option.helpGroup(title));
  };
  group(
    "Where to start (one of):",
    new Option("--from <file>", "weights to start from: .ckpt, .pt, .safetensors or a Flax folder"),
    new Option("--scratch", "a new model (see Model)"),
    new Option(
      "--resume <run>",
      "a run to go on with, exactly: its folder or a checkpoint; or Lightning's, with its optimizers",
    ).conflicts([
      "from",
      "scratch",
    ]),
  );
  group(
    "A config of taming's:",
    new Option("--base <file>", "a YAML file that says all of this; may be given again, later ones win")
      .argParser((file: string, before: string[] | undefined) => [...before ?? [], file]),
  );
  group(
    "Pictures:",
    new Option("--data <source...>", "folders, globs, .txt lists or pictures"),
    new Option("--size <pixels>", "side of the squares (default: the model's resolution)").argParser(
      wholeNumber(1),
    ),
    new Option("--random-crop", "crop at random, not at the centre"),
    new Option("--flip", "mirror half of the pictures"),
    new Option("--val <source>", "pictures to measure on, or the fraction of --data to keep back")
      .argParser(fractionOrPath).default(defaultOptions.val),
  );
  group(
    "Training:",
    new Option("--steps <n>", `steps in all (default: ${defaultOptions.steps})`).argParser(wholeNumber(1)),
    number("--batch <n>", "pictures at once", 1, defaultOptions.batch),
    number("--accumulate <n>", "batches a step, their gradients averaged", 1, defaultOptions.accumulate),
    new Option("--base-lr <rate>", "learning rate for a batch of one (default: 4.5e-6)")
      .argParser(positiveNumber),
    new Option("--lr <rate>", "learning rate, whatever the batch").argParser(positiveNumber).conflicts(
      "baseLr",
    ),
    number("--warmup <n>", "steps over which the learning rate rises", 0, 0),
    new Option("--decay <kind>", "learning rate over the run").choices(["constant", "cosine"]).default(
      "constant",
    ),
    precisionOption(),
    number("--seed <n>", "order, crops and new weights", 0, defaultOptions.seed),
    new Option("--restart-dead-codes <n>", "steps after which unused codes move (default: 0; --scratch: 100)")
      .argParser(wholeNumber(0)),
  );
  group(
    "Losses:",
    new Option(
      "--lpips <files...>",
      "perceptual network: classifier and heads, their folder, or a checkpoint",
    ),
    new Option("--no-lpips", "train without a perceptual network: blurrier"),
    new Option(
      "--disc-start <step>",
      "first step at which the discriminator counts (default: 0; --scratch: half way)",
    )
      .argParser(wholeNumber(0)),
    new Option("--disc-weight <factor>", "on top of the adaptive weight (default: the model's, 0.75)")
      .argParser(nonNegativeNumber),
    new Option("--taming-exact", "recompute the reconstruction for the discriminator, as taming did: slower"),
    new Option("--lpips-dropout", "dropout inside LPIPS, as taming had by accident"),
  );
  group(
    "Output:",
    new Option("--out <folder>", "where run folders go").default("runs"),
    new Option("--name <name>", "last part of the run folder's name (default: that of the data)"),
    number("--log-every <n>", "steps between lines of metrics.jsonl", 1, defaultOptions.logEvery),
    number("--image-every <n>", "steps between pictures", 1, defaultOptions.imageEvery),
    number("--save-every <n>", "steps between checkpoints", 1, defaultOptions.saveEvery),
    new Option("--val-every <n>", "steps between measurements (default: --save-every)").argParser(
      wholeNumber(1),
    ),
  );
  group(
    "Model (with --scratch):",
    new Option("--preset <name>", "where the other numbers come from (default: faces)")
      .choices(["f16-16384", "faces"]),
    new Option("--ch <n>", "channels at full resolution, a multiple of 32").argParser(wholeNumber(1)),
    new Option("--ch-mult <list>", "their multiples level by level, such as 1,2,2,4").argParser(wholeNumbers),
    new Option("--res-blocks <n>", "residual blocks a level").argParser(wholeNumber(1)),
    new Option("--attn <list>", "resolutions with attention").argParser(wholeNumbers),
    new Option("--z-channels <n>", "channels before quantization").argParser(wholeNumber(1)),
    new Option("--embed-dim <n>", "channels of a code").argParser(wholeNumber(1)),
    new Option("--codes <n>", "codes in the codebook").argParser(wholeNumber(1)),
    new Option("--disc-ndf <n>", "channels of the discriminator's first layer").argParser(wholeNumber(1)),
    new Option("--disc-layers <n>", "normalised layers of the discriminator").argParser(wholeNumber(1)),
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
  const given = command.opts<Flags>();
  if (settings.length > 0 && !given.base) {
    throw new UsageError(`"${settings[0]}" belongs to no option; settings such as it change a --base config`);
  }
  const { flags, notes } = given.base
    ? await withConfigs(given, command, settings)
    : { flags: given, notes: [] };
  for (const note of notes) console.log(note);
  const started = flags.resume === undefined
    ? await beginRun(newRun(flags))
    : await continueRun(flags.resume, flags, command);
  for (const note of started.notes) console.log(note);
  const outcome = await trainWithProgress(started, "fine-tune");
  if (outcome.interrupted) process.exitCode = interruptedCode;
  else console.log(describeOutcome(outcome));
}

/** Continues a run of Tessera's exactly, or begins a run with weights and optimizers of a checkpoint by Lightning. */
async function continueRun(runOrFile: string, flags: Flags, command: Command): Promise<Run> {
  const path = await checkpointOf(runOrFile);
  const progress = await readProgress(path);
  if (progress === "own run") return await resumeRun(runOrFile, resumeChanges(command));
  const steps = flags.steps ?? progress.step + defaultOptions.steps;
  if (steps <= progress.step) {
    throw new UsageError(`${path} stands at step ${progress.step}: --steps, counted in all, must be more`);
  }
  // As in Lightning, the optimizers' own rate wins over that of a config, but not over an option.
  const hasBaseLr = command.getOptionValueSource("baseLr") === "cli";
  const lr = flags.lr ?? (hasBaseLr ? undefined : progress.lr);
  return await beginRun(continuedRun(path, flags, steps, lr));
}

/** The options that may be given again when a run is resumed. */
const resumable: readonly string[] = [
  "resume",
  "device",
  "precision",
  "steps",
  "data",
  "val",
  "logEvery",
  "imageEvery",
  "valEvery",
  "saveEvery",
];

/** The options that were given on the command line. @throws UsageError if one of them cannot change any more. */
function resumeChanges(command: Command): ResumeChanges {
  const given = Object.entries(command.opts()).filter(([key]) => command.getOptionValueSource(key) === "cli");
  const fixed = given.find(([key]) => !resumable.includes(key));
  if (fixed) {
    const option = command.options.find((option) => option.attributeName() === fixed[0]);
    throw new UsageError(`${option?.long} is fixed when a run is resumed: the checkpoint holds it`);
  }
  return Object.fromEntries(given.filter(([key]) => key !== "resume" && key !== "device"));
}
