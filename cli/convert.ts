// tessera convert: writes a checkpoint, or a part of it, in another format.
import { stat } from "node:fs/promises";
import { extname } from "node:path";
import { Command, Option } from "commander";
import { describeModel } from "../data/formats/find_model.ts";
import { stated } from "../data/formats/guess.ts";
import { jsonRecord, record } from "../data/formats/json.ts";
import {
  type CheckpointFile,
  type ConfigGuess,
  configOf,
  convertCheckpoint,
  formatByName,
  formatBytes,
  guessLoss,
  isAutoencoder,
  openCheckpoint,
  trainingState,
} from "../data/index.ts";
import { convertTargets } from "../data/files/save.ts";
import { checkpointPath } from "./checkpoint.ts";
import { namesHelp } from "./fetch.ts";
import { messageOf } from "./messages.ts";
import { forceOption, UsageError } from "./options.ts";
import { refuseExisting } from "./outputs.ts";
import { print, printAside } from "./print.ts";
import { bytesProgress } from "./progress.ts";
import { stoppable } from "./stoppable.ts";

interface Flags {
  readonly strip?: boolean;
  readonly discriminator?: boolean;
  readonly lpips?: boolean;
  readonly dtype?: "f32" | "f16" | "bf16";
  readonly force?: boolean;
  readonly format?: "diffusers";
  readonly inside?: string;
}

const examples = `
Examples:
  $ tessera convert last.ckpt last.safetensors
  $ tessera convert last.ckpt model.safetensors --strip --dtype f16
  $ tessera convert runs/2026-05-01T12-30-00_faces/checkpoints/last.safetensors last.ckpt
  $ tessera convert last.ckpt flax_model/
  $ tessera convert last.ckpt vqvae/ --format diffusers
  $ tessera convert net.pth model.safetensors --inside params_ema
  $ tessera convert hf:flax-community/vqgan_f16_16384 model.ckpt
  $ tessera convert runs/RUN/checkpoints/last.safetensors faces.onnx

The ending of OUT chooses the format: .ckpt, .pt or .pth for torch and Lightning, .safetensors, a folder without
ending (or a .msgpack file) for Flax, a folder with --format diffusers for diffusers, and .onnx for onnxruntime:
faces.encoder.onnx turns pixels into tokens, and faces.decoder.onnx tokens into pixels, for pictures of any size and
number. Everything that the format has a place for is kept: torch and safetensors keep both optimizers, so that
training can continue in taming or here (finetune --resume OUT); Flax, diffusers and ONNX hold only the autoencoder.
If IN has the names of another library, or holds the model inside a larger one, the model alone is written, under
taming's names; --inside chooses one of several. --strip keeps only the autoencoder, which is enough to encode and
decode: 31 % of the published file. --dtype rounds tensors of two or more dimensions, which can change a few tokens.`;

export function convertCommand(): Command {
  return new Command("convert").description(
    "write a checkpoint in another format, or only a part of it",
  )
    .argument(
      "<in>",
      `a checkpoint, a run's folder, or a folder with a Flax or a diffusers model; ${namesHelp}`,
    )
    .argument("<out>", "the file or folder to write")
    .option("--strip", "keep only the autoencoder")
    .option("--discriminator", "with --strip: also keep the discriminator")
    .option("--lpips", "with --strip: also keep the perceptual network")
    .addOption(
      new Option("--dtype <type>", "precision of the weights (default: unchanged)").choices([
        "f32",
        "f16",
        "bf16",
      ]),
    )
    .addOption(
      forceOption(
        "replace OUT if it is there, and write also what is more than 300 times as large as the input",
      ),
    )
    .addOption(
      new Option("--format <name>", "write a folder for diffusers' VQModel.from_pretrained").choices([
        "diffusers",
      ]),
    )
    .option("--inside <name>", "use the model under this prefix or inner dict, if the file holds several")
    .addHelpText("after", examples)
    .action(run);
}

async function run(path: string, out: string, flags: Flags): Promise<void> {
  const { strip = false, dtype } = flags;
  const extra = (["discriminator", "lpips"] as const).find((part) => flags[part]);
  if (extra && !strip) {
    throw new UsageError(`--${extra} only works with --strip: without it everything is kept`);
  }
  if (flags.format && extname(out) !== "") {
    throw new UsageError(`${out}: a model for diffusers is a folder, so OUT has no ending`);
  }
  const format = flags.format ?? formatByName(out);
  if (!flags.force) await refuseExisting(convertTargets(out, format));
  const file = await openCheckpoint(
    await checkpointPath(path),
    flags.inside === undefined ? {} : { inside: flags.inside },
  );
  try {
    const { guess, error } = guessIn(file), config = guess?.config ?? null;
    const optimizers = config !== null && !strip;
    // without an autoencoder nothing would be left, and what is inside is nothing that can be chosen
    if (error !== null && (strip || flags.inside !== undefined)) throw error;
    const keep = strip ? keptBy(file, flags) : undefined;
    const note = describeModel(file.model);
    if (note !== null) print(`model: ${note}`);
    if (file.isAverage) {
      const goesOn = optimizers && (format === "torch" || format === "safetensors");
      print(
        `weights: ${
          goesOn
            ? "those of the last step, with their average (EMA) beside them"
            : "their average over the training (EMA)"
        }`,
      );
    }
    if (file.tensors.size === 0) {
      printAside(`warning: there are no tensors in ${path}, and there will be none in ${out}`);
    } else if (error !== null) {
      const why = "problem" in file.model ? file.model.problem : messageOf(error);
      print(`${why}; only its tensors are converted, nothing else in the file`);
    }
    const notes: string[] = [], onNote = (note: string) => void notes.push(note);
    const assumed = guess?.assumed;
    const written = await stoppable(() => `stopped; ${out} was not written`, async (signal) => {
      const progress = bytesProgress("convert");
      const onProgress = (bytes: number, total: number) => {
        signal.throwIfAborted();
        progress.report(bytes, total);
      };
      const options = { keep, optimizers, dtype, config, assumed, force: flags.force, onNote, onProgress };
      return await convertCheckpoint(file, out, options, format).finally(() => progress.finish());
    });
    for (const path of written) print(`${path}: ${formatBytes((await stat(path)).size)}`);
    printAside(...notes.slice(0, maxNotes).map((note) => `warning: ${note}`));
    if (notes.length > maxNotes) printAside(`warning: and ${notes.length - maxNotes} more tensors`);
    if (format !== "torch") return;
    if (config && config.quantizer === "normalized") {
      print("warning: taming has no codes of length 1, so this file is for Tessera alone");
    } else if (config && !["nearest", "gumbel"].includes(config.quantizer)) {
      print(`warning: taming has no quantizer "${config.quantizer}", so this file is for Tessera alone`);
    }
    if (guess) { for (const note of notesForTaming(guess)) print(`note: ${note}`); }
    if (optimizers && await trainingState(file)) {
      warnOfTaming(file);
      const left = unknownToTaming(file);
      if (left.length > 0) print(`note: taming knows no ${left.join(" and no ")}, and would go on without`);
    }
  } finally {
    await file.close();
  }
}

/** At most this many tensors are named whose values do not fit into their new type. */
const maxNotes = 10;

function keptBy(file: CheckpointFile, flags: Flags): (key: string) => boolean {
  const kept: [string, (key: string) => boolean][] = [["autoencoder", isAutoencoder]];
  const under = (prefix: string) => (key: string) => key.startsWith(prefix);
  if (flags.discriminator) kept.push(["discriminator", under("loss.discriminator.")]);
  if (flags.lpips) kept.push(["perceptual network", under("loss.perceptual_loss.")]);
  for (const [name, isPart] of kept) {
    if (![...file.tensors.keys()].some(isPart)) throw new Error(`${file.path} has no ${name}`);
  }
  return (key) => kept.some(([, isPart]) => isPart(key));
}

/** What taming's VQModel has to be told, because nothing says it, and what it cannot be told. */
function notesForTaming(guess: ConfigGuess): string[] {
  const { config, assumed } = guess;
  const hasLoss = Object.keys(stated(guess).lossconfig ?? {}).length > 0;
  const names = [
    ...assumed.includes("ddconfig.resolution") ? ["resolution"] : [],
    ...hasLoss && assumed.includes("lossconfig.discStart") ? ["disc_start"] : [],
  ];
  const notes: string[] = [];
  if (names.length > 0) {
    notes.push(
      `nothing says the ${
        names.join(" and the ")
      } of this model, so the file does not either; taming needs a config`,
    );
  }
  if (config.remap !== null) {
    notes.push("taming's VQModel also needs the list quantize.used as a .npy file, by its argument remap");
  }
  if (config.attentionOrder !== "taming") {
    notes.push(`taming has no attention order ${config.attentionOrder}, and other tokens come out there`);
  }
  if (!config.legacyBeta) {
    notes.push(
      "taming's VQModel always puts beta on the codebook's term of its loss, this model has it on the other one (legacy: false): " +
        "training goes on here as before, and with another loss in taming",
    );
  }
  return notes;
}

/** Warns about files that taming cannot resume: its LPIPS uses VGG16, and its --resume requires every tensor to fit. */
function warnOfTaming(file: CheckpointFile): void {
  const { perceptualNet } = guessLoss(file.tensors);
  if (perceptualNet === "vgg") return;
  const found = perceptualNet === "squeeze"
    ? "its perceptual network is SqueezeNet"
    : "it has no perceptual network";
  print(
    `warning: ${found}, but taming's is VGG16: taming can start from the weights (ckpt_path) of a file converted with ` +
      "--strip --discriminator, but it cannot resume this one",
  );
}

/** What the optimizers of a run of Tessera do beyond taming's. */
function unknownToTaming({ metadata }: CheckpointFile): string[] {
  const { weightDecay, clip, rates } = record(record(jsonRecord(metadata.state)?.settings)?.optimizer) ?? {};
  return [
    ...weightDecay ? ["weight decay"] : [],
    ...clip ? ["clipping"] : [],
    ...Object.keys(record(rates) ?? {}).length > 0 ? ["learning rates of parts"] : [],
  ];
}

/** The model's config, or why there is none: then the file's tensors can still be converted. */
function guessIn(file: CheckpointFile): { guess: ConfigGuess | null; error: unknown } {
  try {
    return { guess: configOf(file), error: null };
  } catch (error) {
    return { guess: null, error };
  }
}
