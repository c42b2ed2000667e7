// What fine-tuning on few pictures brings: the small model learns 20 portraits of small children, and 300 cartoons, with several
// settings, and is measured on pictures of the same kind and on other faces. Prints the tables of docs/faces.md and draws
// docs/few-faces.jpg. FACES are the 2,228 synthetic faces of docs/faces.md.
//   deno run -A bench/few_faces.ts --faces FACES --lpips "BACKBONE HEADS" --judge "ALEXNET HEADS" \
//     [--size 128] [--out few] [--from MODEL] [--only "portraits: modern,cartoons: modern"]
// It can be stopped and called again: what has been trained and measured is not done again.
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import sharp from "sharp";
import { type Picture, readImage, sideBySide, VQGAN, writeCartoonFaces } from "../mod.ts";
import { split, tessera } from "./children.ts";

/** The settings for each set of pictures, as words of the command line. The last one is drawn. */
const settings: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  portraits: {
    "no GAN": "--steps 160 --lr 5e-5 --flip --ema 0.98 --disc-weight 0",
    "decoder": "--steps 160 --lr 5e-5 --flip --ema 0.98 --disc-weight 0 --train decoder",
    "modern": "--steps 160 --lr 5e-5 --flip --recipe modern",
  },
  cartoons: {
    "no GAN": "--steps 240 --lr 2e-4 --flip --ema 0.98 --disc-weight 0",
    "modern": "--steps 240 --lr 2e-4 --flip --recipe modern",
  },
};

const here = (path: string) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const { values: options } = parseArgs({
  options: {
    faces: { type: "string" },
    lpips: { type: "string" },
    judge: { type: "string" },
    out: { type: "string", default: "few" },
    from: { type: "string", default: here("models/faces.safetensors") },
    only: { type: "string" },
    size: { type: "string", default: "128" },
  },
});
const { faces, lpips, judge, out, from } = options, size = Number(options.size);
if (!faces || !lpips || !judge) throw new Error("--faces, --lpips and --judge are needed");

/** Some of the photographs sfhq_NNNN.jpg, of which not all numbers exist. */
function numbered(first: number, last: number): string[] {
  return Array.from({ length: last - first + 1 }, (_, i) => `sfhq_${String(first + i).padStart(4, "0")}.jpg`)
    .map((name) => resolve(faces!, name)).filter((path) => existsSync(path));
}

const isKept = (every: number) => (_path: string, i: number) => i % every === every - 1;
const children = numbered(59, 81); // twenty of them
const cartoons = (await writeCartoonFaces(join(out, "cartoons"), 300, 128, 1)).map((path) => resolve(path));
/** The pictures on which a set is measured. All others are learnt. */
const kept: Readonly<Record<string, readonly string[]>> = {
  portraits: [...children.filter(isKept(5)), ...numbered(82, 85), ...numbered(137, 145)], // 4 of the twenty, and 12 more
  cartoons: cartoons.filter(isKept(7)).slice(0, 40),
};
const learnt: Readonly<Record<string, readonly string[]>> = {
  portraits: children.filter((path) => !kept.portraits.includes(path)),
  cartoons: cartoons.filter((path) => !kept.cartoons.includes(path)),
};
/** Faces of all kinds, to see what is forgotten. */
const others = readdirSync(faces).filter((name) => name.startsWith("sfhq_t2i_")).sort()
  .filter((_, i) => i % 144 === 5).map((name) => resolve(faces, name));

/** Writes a list of pictures. @returns its path */
function list(name: string, paths: readonly string[]): string {
  const path = join(out, `${name}.txt`);
  writeFileSync(path, paths.map((path) => `${path}\n`).join(""));
  return path;
}

const folderOf = (...names: string[]) => join(out, names.join("_").replaceAll(/\W+/g, "_"));

/** Trains a setting, unless that has been done. @returns its last checkpoint */
function train(set: string, name: string): string {
  const folder = folderOf("run", set, name), begun = existsSync(folder) ? readdirSync(folder) : [];
  const done = begun.find((run) => existsSync(join(folder, run, "ending.json")));
  if (done === undefined) {
    rmSync(folder, { recursive: true, force: true });
    const pictures = ["--data", list(set, learnt[set]), "--val", "0", "--val-every", "1000"];
    const common = ["--from", from, "--size", options.size, "--seed", "1", "--name", "run", "--out", folder];
    tessera("finetune", ...common, ...pictures, "--lpips", ...split(lpips!), ...split(settings[set][name]));
  }
  return join(folder, readdirSync(folder)[0], "checkpoints", "last.safetensors");
}

interface Result {
  readonly metrics: Readonly<Record<string, { readonly mean: number }>>;
  readonly faces: { readonly found: number; readonly same: number } | null;
}

/** Measures a model on some pictures, unless that has been done. */
function measure(
  model: string,
  name: string,
  pictures: string,
  paths: readonly string[],
  ...words: string[]
): Result {
  const report = folderOf("evaluation", name, pictures), file = join(report, "evaluation.json");
  if (!existsSync(file)) {
    const data = ["--data", list(`${pictures}-kept`, paths), "--size", options.size];
    tessera("evaluate", "--model", model, ...data, "--lpips", ...split(judge!), "--out", report, ...words);
  }
  return (JSON.parse(readFileSync(file, "utf8")) as { models: Result[] }).models[0];
}

/** Originals, and what models make of them, as rows of a sheet. */
async function rowsOf(models: readonly string[], paths: readonly string[]): Promise<Picture[][]> {
  const rows = [await Promise.all(paths.map((path) => readImage(path, { size })))];
  for (const path of models) {
    const model = await VQGAN.load(path), row: Picture[] = [];
    for (const picture of rows[0]) {
      const { tokens, grid } = await model.tokensOf(picture, { size: 0 });
      row.push(await model.pictureOf(tokens, grid));
    }
    model.dispose();
    rows.push(row);
  }
  return rows;
}

mkdirSync(out, { recursive: true });
const wanted = options.only?.split(",").map((name) => name.trim());
const shown: Picture[][][] = [], lines: string[] = [];
for (const [set, each] of Object.entries(settings)) {
  const names = Object.keys(each).filter((name) => wanted?.includes(`${set}: ${name}`) ?? true);
  if (names.length === 0) continue;
  const models = [["before", from], ...names.map((name) => [name, train(set, name)])];
  const hasFaces = set === "portraits"; // cartoons are no faces for the face network
  lines.push(
    `| ${learnt[set].length} ${set} | PSNR | SSIM | LPIPS | same person | other faces: PSNR | LPIPS |`,
  );
  lines.push("|---|---|---|---|---|---|---|");
  for (const [name, model] of models) {
    const of = name === "before" ? "before" : `${set} ${name}`;
    const own = measure(model, of, set, kept[set], ...hasFaces ? [] : ["--no-faces"]);
    const other = measure(model, of, "others", others, "--no-faces");
    const mean = ({ metrics }: Result, metric: string, digits: number) =>
      metrics[metric].mean.toFixed(digits);
    const cells = [
      name === "before" ? "before" : `${name}: \`${each[name]}\``,
      ...[mean(own, "psnr", 2), mean(own, "ssim", 3), mean(own, "lpips_alex", 3)],
      own.faces ? `${own.faces.same} of ${own.faces.found}` : "-",
      ...[mean(other, "psnr", 2), mean(other, "lpips_alex", 3)],
    ];
    lines.push(`| ${cells.join(" | ")} |`);
  }
  lines.push("");
  shown.push(await rowsOf([from, models.at(-1)![1]], kept[set].slice(0, 4)));
}
console.log(lines.join("\n"));
const sheet = await sideBySide(shown[0].map((_, i) => shown.flatMap((of) => of[i])), { padding: 2 });
const { pixels, width, height } = sheet;
await sharp(pixels, { raw: { width, height, channels: 3 } }).jpeg({ quality: 88 }).toFile(
  join(out, "few-faces.jpg"),
);
