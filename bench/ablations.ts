// What each ingredient of training brings: trains the same model with the same seed, pictures and number of steps once for each
// variant, then evaluates all of them on pictures that none has learnt from, and prints a table for docs/training.md.
//   deno run -A bench/ablations.ts --from models/faces.safetensors --data learn.txt --kept kept.txt --out ablations \
//     --steps 1500 --size 64 --lpips VGG_FILES --judge ALEX_FILES [--variants "no GAN,modern"] [--words="--batch 2 --flip"]
// It can be stopped and called again: variants whose run has ended are not trained again, and others are resumed.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { split, tessera } from "./children.ts";

/** The variants, as words of the command line. All but the first have a GAN. */
const variants: Readonly<Record<string, string>> = {
  "no GAN": "--disc-weight 0",
  "taming": "",
  "warm-up and ramp": "--disc-warmup 100 --disc-ramp 300",
  "weight 0.2": "--disc-weight 0.2",
  "fixed weight 0.1": "--disc-fixed-weight 0.1",
  "LeCam": "--lecam 0.05",
  "slow discriminator": "--lr-of discriminator=1e-5",
  "clip": "--clip 1",
  "EMA": "--ema 0.995",
  "betas 0.9, 0.95": "--betas 0.9,0.95",
  "rotation": "--rotation",
  "codebook by averages": "--codebook ema",
  "identity": "--identity 0.1",
  "modern": "--recipe modern",
};

const { values: options } = parseArgs({
  options: {
    from: { type: "string" },
    data: { type: "string" },
    kept: { type: "string" },
    out: { type: "string", default: "ablations" },
    steps: { type: "string", default: "1500" },
    size: { type: "string", default: "64" },
    lr: { type: "string", default: "5e-5" },
    lpips: { type: "string", default: "" },
    judge: { type: "string", default: "" },
    variants: { type: "string", default: Object.keys(variants).join(",") },
    words: { type: "string", default: "" },
  },
});
const { from, data, kept, out, steps } = options;
if (!from || !data || !kept) throw new Error("--from MODEL, --data PICTURES and --kept PICTURES are needed");

/** The folder of the run of a variant, or null if there is none. */
function runOf(folder: string): string | null {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names.length === 0 ? null : join(folder, names[0]);
}

/** Trains a variant, or goes on with it. @returns its folder, and the seconds that its steps took, if they were logged */
function trained(name: string): { run: string; seconds: number } {
  const folder = join(out, name.replaceAll(/\W+/g, "_")), begun = runOf(folder);
  if (begun && existsSync(join(begun, "checkpoints", "last.safetensors"))) {
    tessera("finetune", "--resume", begun);
  } else {
    const common = ["--from", from!, "--data", data!, "--val", "0", "--size", options.size, "--steps", steps];
    const rest = ["--lr", options.lr, "--seed", "1", "--name", "run", "--out", folder, "--log-every", "50"];
    const network = options.lpips ? ["--lpips", ...split(options.lpips)] : ["--no-lpips"];
    tessera("finetune", ...common, ...rest, ...network, ...split(options.words), ...split(variants[name]));
  }
  const run = runOf(folder)!;
  const lines = readFileSync(join(run, "metrics.jsonl"), "utf8").trim().split("\n");
  const times = lines.map((line) =>
    (JSON.parse(line) as { seconds_per_step?: number }).seconds_per_step ?? NaN
  );
  const known = times.filter(Number.isFinite).sort((a, b) => a - b);
  return { run, seconds: known[Math.floor(known.length / 2)] };
}

interface Result {
  readonly metrics: Readonly<Record<string, { readonly mean: number }>>;
  readonly faces: {
    readonly found: number;
    readonly lost: number;
    readonly same: number;
    readonly median: number;
  };
  readonly frechet: readonly {
    readonly space: string;
    readonly distance: number;
    readonly pictures: number;
  }[];
  readonly codebook: { readonly usage: number };
}

const names = options.variants.split(",");
const unknown = names.filter((name) => !Object.hasOwn(variants, name));
if (unknown.length > 0) throw new Error(`there is no variant ${unknown}; there are ${Object.keys(variants)}`);
const runs = names.map((name) => ({ name, ...trained(name) }));
const models = [from, ...runs.map(({ run }) => run)].flatMap((model) => ["--model", model]);
const judge = options.judge ? ["--lpips", ...split(options.judge)] : [];
const report = join(out, "evaluation");
tessera("evaluate", ...models, "--data", kept, "--size", options.size, ...judge, "--out", report, "--force");
const { models: results } = JSON.parse(readFileSync(join(report, "evaluation.json"), "utf8")) as {
  models: Result[];
};

const percent = (value: number) => `${(100 * value).toFixed(0)} %`;
console.log("| variant | PSNR | SSIM | LPIPS (alex) | same person | Fréchet (face) | codes used | step |");
console.log("|---|---|---|---|---|---|---|---|");
for (const [i, { metrics, faces, frechet, codebook }] of results.entries()) {
  const name = i === 0 ? "before" : names[i - 1], seconds = i === 0 ? NaN : runs[i - 1].seconds;
  // of too few faces it means nothing, so their number stands beside it
  const face = frechet.find(({ space }) => space === "face") ?? { distance: NaN, pictures: 0 };
  const mean = (metric: string, digits: number) => metrics[metric]?.mean.toFixed(digits) ?? "-";
  const cells = [
    ...[name, mean("psnr", 2), mean("ssim", 3), mean("lpips_alex", 4), percent(faces.same / faces.found)],
    ...[
      `${(face.distance ?? NaN).toFixed(3)} (${face.pictures} faces)`,
      percent(codebook.usage),
      Number.isNaN(seconds) ? "-" : `${seconds.toFixed(3)} s`,
    ],
  ];
  console.log(`| ${cells.join(" | ")} |`);
}
