// Makes the notebooks of docs/notebooks/: `deno task notebooks` runs the cells of each source there and saves NAME.ipynb with
// what they show, `deno task notebooks 1-pictures` only one of them.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import process from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { notebookText, type Output, readCells } from "./notebooks/cells.ts";

const here = dirname(fileURLToPath(import.meta.url));

/** Where sources and notebooks lie. */
export const notebooksFolder: string = join(here, "..", "docs", "notebooks");

/** The names of all notebooks, without an ending. */
export const notebookNames: readonly string[] = readdirSync(notebooksFolder)
  .filter((name) => name.endsWith(".ts")).map((name) => name.slice(0, -3)).sort();

/** The path of a notebook's source. */
export const sourcePath = (name: string): string => join(notebooksFolder, `${name}.ts`);

/** What each cell of code shows. @throws with what the process printed, if a cell fails */
export function runNotebook(name: string): Output[][] {
  const words = ["run", "-A", "--no-check", join(here, "notebooks", "run.ts"), sourcePath(name)];
  const options = { encoding: "utf8", maxBuffer: 2 ** 26, env: { ...process.env, NO_COLOR: "1" } } as const;
  return JSON.parse(execFileSync(process.execPath, words, options)) as Output[][];
}

if (import.meta.url === pathToFileURL(process.argv[1]).href) {
  const wanted = process.argv.slice(2);
  for (const name of wanted.length > 0 ? wanted : notebookNames) {
    const start = performance.now();
    const text = notebookText(readCells(readFileSync(sourcePath(name), "utf8")), runNotebook(name));
    writeFileSync(join(notebooksFolder, `${name}.ipynb`), text);
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`docs/notebooks/${name}.ipynb: ${Math.round(text.length / 1000)} kB, ${seconds} s`);
  }
}
