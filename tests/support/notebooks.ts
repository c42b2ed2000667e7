// The notebooks of docs/notebooks, and whether what their cells show is what was saved.
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { readImage } from "../../mod.ts";
import type { NotebookFile, Output } from "../../scripts/notebooks/cells.ts";
import { notebooksFolder } from "../../scripts/notebooks.ts";

export const notebookPath = (name: string): string => join(notebooksFolder, `${name}.ipynb`);

export const readNotebook = (name: string): NotebookFile =>
  JSON.parse(readFileSync(notebookPath(name), "utf8")) as NotebookFile;

/**
 * How far pictures may be from the saved ones, in levels of 255. Another processor rounds in another way, and training
 * magnifies that: where convolutions are computed by their definition (TESSERA_EXACT=1), the rings that a discriminator trained
 * differ by 9 levels, and all other pictures by less than 3.
 */
const levels = (name: string) => name === "7-discriminator" ? 15 : 4;

/** An output, with its parts joined: programs split lines in different ways. */
interface Shown {
  readonly kind: string;
  readonly text: string;
  readonly png: string | undefined;
}

const joined = (text: string | readonly string[] = "") => typeof text === "string" ? text : text.join("");

function shownBy(outputs: readonly Output[]): Shown[] {
  const all: Shown[] = [];
  for (const output of outputs) {
    if (output.output_type === "stream") {
      const last = all.at(-1), text = joined(output.text);
      if (last?.kind === output.name) all[all.length - 1] = { ...last, text: last.text + text };
      else all.push({ kind: output.name, text, png: undefined });
    } else {
      const png = output.data["image/png"];
      const text = joined(output.data["text/plain"]).replace(/^(Tensor .*?):.*/, "$1"); // without its first values
      all.push({ kind: output.output_type, text, png: png && joined(png) });
    }
  }
  return all;
}

const pixelsOf = async (png: string) => await readImage(Buffer.from(png, "base64"));

/** @throws if one text has other words than the other, or numbers that differ by more than a twentieth */
function checkText(what: string, now: string, saved: string): void {
  const number = /-?\d+(\.\d+)?/g;
  const [a, b] = [now, saved].map((text) => (text.match(number) ?? []).map(Number));
  const isNear = a.every((value, i) => Math.abs(value - b[i]) <= 0.05 * Math.abs(b[i]) + 0.01);
  if (now.replace(number, "#") !== saved.replace(number, "#") || !isNear) {
    throw new Error(`${what} says "${now.trim()}", and saved is "${saved.trim()}"`);
  }
}

/** @throws if a cell shows something other than what was saved: then `deno task notebooks` is due */
export async function checkOutputs(name: string, outputs: readonly (readonly Output[])[]): Promise<void> {
  const saved = readNotebook(name).cells.filter((cell) => cell.cell_type === "code");
  if (saved.length !== outputs.length) throw new Error(`${outputs.length} cells, saved are ${saved.length}`);
  for (const [i, cell] of saved.entries()) {
    const now = shownBy(outputs[i]), before = shownBy(cell.outputs ?? []), where = `cell of code ${i + 1}`;
    const [kinds, kindsBefore] = [now, before].map((all) => all.map(({ kind }) => kind).join(", "));
    if (kinds !== kindsBefore) {
      throw new Error(`${where} shows ${kinds || "nothing"}, saved is ${kindsBefore}`);
    }
    for (const [j, { text, png }] of now.entries()) {
      checkText(where, text, before[j].text);
      if (png === undefined && before[j].png === undefined) continue;
      const [a, b] = await Promise.all([png, before[j].png].map((each) => pixelsOf(each ?? "")));
      if (a.width !== b.width || a.height !== b.height) {
        throw new Error(`${where}: a picture has another size`);
      }
      const sum = a.pixels.reduce((total, value, at) => total + Math.abs(value - b.pixels[at]), 0);
      const difference = sum / a.pixels.length;
      if (difference > levels(name)) {
        throw new Error(`${where}: a picture differs by ${difference.toFixed(1)} of 255`);
      }
    }
  }
}
