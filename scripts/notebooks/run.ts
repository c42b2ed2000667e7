// Runs the cells of one notebook as one module, in a process of its own, and prints what each of them shows as one line of
// JSON: `deno run -A scripts/notebooks/run.ts docs/notebooks/1-pictures.ts`. This is what Deno's kernel for Jupyter does,
// without Jupyter.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { linesOf, type Output, readCells, withResult } from "./cells.ts";

type Bundle = Record<string, string>;

/** What the kernel would send for a value. */
async function bundleOf(value: unknown): Promise<Bundle> {
  const method: unknown = Object(value)[Symbol.for("Jupyter.display")];
  if (typeof method === "function") return await method.call(value);
  return { "text/plain": Deno.inspect(value) };
}

/** A line as the console prints it. */
const lineOf = (words: readonly unknown[]) =>
  words.map((word) => typeof word === "string" ? word : Deno.inspect(word)).join(" ") + "\n";

/** Text as lists of lines, and the rest as it is: Jupyter stores it so. */
const stored = (bundle: Bundle) =>
  Object.fromEntries(
    Object.entries(bundle).map(([type, data]) => [type, type.startsWith("text/") ? linesOf(data) : data]),
  );

/** Collects what cells show, in place of a notebook. */
class Recorder {
  readonly outputs: Output[][] = [];
  readonly #named = new Map<string, Exclude<Output, { output_type: "stream" }>>();

  begin(): void {
    this.outputs.push([]);
  }

  print(name: "stdout" | "stderr", line: string): void {
    const cell = this.outputs.at(-1)!, last = cell.at(-1);
    if (last?.output_type === "stream" && last.name === name) last.text.push(line);
    else cell.push({ output_type: "stream", name, text: [line] });
  }

  /** The value of a cell's last statement. The kernel shows it unless there is none. */
  async result(value: unknown): Promise<void> {
    if (value === undefined || value === null) return;
    const count = this.outputs.length;
    this.outputs.at(-1)!.push({
      output_type: "execute_result",
      data: stored(await bundleOf(value)),
      metadata: {},
      execution_count: count,
    });
  }

  /** Deno.jupyter.display */
  async display(value: unknown, options: Deno.jupyter.DisplayOptions = {}): Promise<void> {
    const data = stored(await bundleOf(value)), name = options.display_id;
    if (options.update) {
      const shown = this.#named.get(name ?? "");
      if (shown) shown.data = data;
      return;
    }
    const output = { output_type: "display_data", data, metadata: {} } as const;
    if (name !== undefined) this.#named.set(name, output);
    this.outputs.at(-1)!.push(output);
  }
}

/** One module of all cells of code. Paths in imports are as seen from the notebook's folder. */
function moduleOf(source: string, folder: string): string {
  const parts = readCells(source).filter(({ kind }) => kind === "code").map(({ text }) => {
    const code = text.replace(/( from |^import )"(\.[^"]*)"/gm, (_, before: string, path: string) => {
      return `${before}"${pathToFileURL(resolve(folder, path)).href}"`;
    });
    return `recorder.begin();\n${withResult(code, "recorder.result")}`;
  });
  return parts.join("\n");
}

const path = resolve(process.argv[2]), folder = mkdtempSync(join(tmpdir(), "tessera-notebook-"));
try {
  const recorder = new Recorder(), { log } = console;
  Object.assign(globalThis, { recorder });
  Object.assign(Deno, { jupyter: { display: recorder.display.bind(recorder) } });
  console.log = (...words: unknown[]) => recorder.print("stdout", lineOf(words));
  console.error = (...words: unknown[]) => recorder.print("stderr", lineOf(words));
  const file = join(folder, "cells.ts");
  writeFileSync(file, moduleOf(readFileSync(path, "utf8"), dirname(path)));
  process.chdir(dirname(path));
  await import(pathToFileURL(file).href);
  log(JSON.stringify(recorder.outputs));
} finally {
  rmSync(folder, { recursive: true });
}
process.exit(); // threads of the tensor library may still wait for work
