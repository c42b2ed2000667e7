// Writes an evaluation: evaluation.json with every number, evaluation.html as a table, and a sheet of the worst pictures of
// each model.
import { join } from "node:path";
import { makeFolder, writeAtomic } from "../../data/files/atomic.ts";
import { encodePng, type Picture, sideBySide } from "../../data/index.ts";
import type { Interval } from "./bootstrap.ts";
import { type Metric, metrics, shownValue } from "./metrics.ts";
import type { Evaluation, ModelResult } from "./results.ts";

/** The names of the files that are written for so many models. */
export function evaluationFiles(models: number): string[] {
  return ["evaluation.json", "evaluation.html", ...Array.from({ length: models }, (_, i) => sheetName(i))];
}

const sheetName = (model: number) => model === 0 ? "worst.png" : `worst-${model + 1}.png`;

/** Writes the files into a folder, each whole or not at all. */
export async function writeEvaluation(folder: string, evaluation: Evaluation): Promise<void> {
  await makeFolder(folder);
  const sheets: Uint8Array[] = [];
  for (const { worst } of evaluation.models) {
    const sheet = await sheetOf(worst);
    if (sheet) sheets.push(await encodePng(sheet));
  }
  for (const [i, bytes] of sheets.entries()) await write(join(folder, sheetName(i)), bytes);
  await write(join(folder, "evaluation.html"), htmlOf(evaluation, sheets));
  await write(join(folder, "evaluation.json"), `${JSON.stringify(jsonOf(evaluation), null, 1)}\n`);
}

async function write(path: string, content: string | Uint8Array): Promise<void> {
  await writeAtomic(path, (file) => file.writeFile(content));
}

/** Originals beside their reconstructions, the worst first, two pairs in a row. */
async function sheetOf({ list }: ModelResult["worst"]): Promise<Picture | null> {
  if (list.length === 0) return null;
  const rows: Picture[][] = [];
  for (let i = 0; i < list.length; i += 2) {
    const pair = list.slice(i, i + 2).flatMap(({ original, made }) => [original, made]);
    rows.push(pair.length === 4 || list.length === 1 ? pair : [...pair, ...pair.map(blank)]);
  }
  const labels = ["original", "made", "original", "made"].slice(0, rows[0].length);
  return await sideBySide(rows, { labels });
}

const blank = (picture: Picture): Picture => ({ ...picture, pixels: picture.pixels.map(() => 255) });

/** The evaluation as plain data. What is no number becomes null in JSON. */
export function jsonOf({ protocol, models, differences, pictures, warnings }: Evaluation): object {
  return {
    protocol,
    warnings,
    models: models.map(({ worst, rows: _rows, frechet, ...rest }) => ({
      ...rest,
      frechet: frechet.map(({ words: _words, ...one }) => one),
      worst: { by: worst.metric, pictures: worst.list.map(({ path, value }) => ({ path, value })) },
    })),
    differences,
    pictures: pictures.map((path, i) => ({ path, models: models.map(({ rows }) => rows[i]) })),
  };
}

/** A line of the table: what it is, and a text for each model and each difference. */
export interface TableRow {
  readonly title: string;
  readonly cells: readonly string[];
}

/** The table of an evaluation: first the names of the models, then a line for each number. */
export function tableOf({ models, differences }: Evaluation): { heads: string[]; rows: TableRow[] } {
  const heads = [
    ...models.map(({ name }) => name),
    ...differences.map((_, i) => `${models[i + 1].name} - ${models[0].name}`),
  ];
  const measured = metrics.filter(({ name }) => name in models[0].metrics);
  const row = (title: string, cell: (model: ModelResult) => string): TableRow => ({
    title,
    cells: models.map(cell),
  });
  const one = models[0];
  return {
    heads,
    rows: [
      ...measured.map((metric) => ({
        title: `${metric.title} ${metric.better === "higher" ? "(higher is better)" : "(lower is better)"}`,
        cells: [
          ...models.map(({ metrics }) => shownInterval(metrics[metric.name], metric)),
          ...differences.map((all) => shownDifference(all[metric.name], metric)),
        ],
      })),
      ...one.faces ? [row("median identity distance", ({ faces }) => number(faces!.median, 3))] : [],
      ...one.faces ? [row("distance of different people", ({ faces }) => number(faces!.strangers, 3))] : [],
      ...one.faces
        ? [row("faces found, lost, same", ({ faces }) => `${faces!.found}, ${faces!.lost}, ${faces!.same}`)]
        : [],
      ...one.frechet.map(({ space }, i) =>
        row(`Fréchet distance (${space})`, ({ frechet }) => {
          const { distance, size, pictures, isDeficient } = frechet[i];
          return `${
            Number.isNaN(distance) ? "-" : distance.toPrecision(5)
          } (${pictures} pictures, ${size} numbers${isDeficient ? ", not full rank" : ""})`;
        })
      ),
      row(
        "codes used",
        ({ codebook: { used, codes, usage } }) => `${used} of ${codes} (${number(100 * usage, 1)} %)`,
      ),
      row(
        "perplexity",
        ({ codebook: { perplexity, tokens } }) => `${number(perplexity, 1)} of ${tokens} tokens`,
      ),
      row("bits per pixel", ({ bitsPerPixel }) => number(bitsPerPixel, 4)),
    ],
  };
}

const number = (value: number, digits: number) => Number.isNaN(value) ? "-" : value.toFixed(digits);

function shownInterval({ mean, low, high }: Interval, metric: Metric): string {
  return `${shownValue(mean, metric)} [${shownValue(low, metric)}, ${shownValue(high, metric)}]`;
}

/** A difference, and which way it points if its interval does not contain 0. */
function shownDifference(interval: Interval, metric: Metric): string {
  const { low, high } = interval;
  const sign = low > 0 ? 1 : high < 0 ? -1 : 0;
  const verdict = sign === 0
    ? "no clear difference"
    : (sign > 0) === (metric.better === "higher")
    ? "better"
    : "worse";
  return `${shownInterval(interval, metric)} ${verdict}`;
}

function htmlOf(evaluation: Evaluation, sheets: readonly Uint8Array[]): string {
  const { protocol, warnings, models } = evaluation, { heads, rows } = tableOf(evaluation);
  const line = (tag: string, cells: readonly string[]) =>
    `<tr>${
      cells.map((cell, i) => `<${i === 0 ? "th" : tag}>${escaped(cell)}</${i === 0 ? "th" : tag}>`).join("")
    }</tr>`;
  const pictures = sheets.map((bytes, i) => {
    const { name, worst } = models[i];
    const list = worst.list.map(({ path, value }) => `<li>${escaped(path)}: ${value.toFixed(4)}</li>`).join(
      "",
    );
    return `<h2>The worst pictures of ${escaped(name)}, by ${escaped(worst.metric)}</h2>
<img alt="originals beside their reconstructions" src="data:image/png;base64,${
      base64(bytes)
    }"><ol>${list}</ol>`;
  });
  return `<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>Evaluation of ${escaped(models.map(({ name }) => name).join(" and "))}</title>
<style>body{font:15px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse}th,td{text-align:left;padding:.2em .8em;border-bottom:1px solid #8884;vertical-align:top}
img{max-width:100%}</style>
<h1>Evaluation</h1>
<table>${line("th", ["", ...heads])}${
    rows.map(({ title, cells }) => line("td", [title, ...cells])).join("\n")
  }</table>
${warnings.map((warning) => `<p><strong>Warning:</strong> ${escaped(warning)}</p>`).join("\n")}
<h2>How it was measured</h2>
<table>${Object.entries(protocol).map((pair) => line("td", pair)).join("\n")}</table>
${pictures.join("\n")}
</html>
`;
}

const escaped = (text: string) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(text);
}
