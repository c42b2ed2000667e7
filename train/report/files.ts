// The files beside metrics.jsonl that show a run to people and other programs: report.html and metrics.csv. Both are replaced
// whole at every save.
import { join } from "node:path";
import { writeAtomic } from "../../data/files/atomic.ts";
import { formatCsv } from "./csv.ts";
import { endingFile, type RunEnding } from "./ending.ts";
import { MetricsFile } from "./metrics_file.ts";
import { renderPage } from "./page.ts";
import { ReportReader } from "./report.ts";
import { chosenSheets, keyOf, Thumbnails } from "./thumbnails.ts";

/** Writes the files of one run. */
export class ReportFiles {
  readonly #folder: string;
  readonly #reader: ReportReader;
  readonly #metrics: MetricsFile;
  readonly #thumbnails: Thumbnails;

  /** @param folder the folder of the run */
  constructor(folder: string) {
    this.#folder = folder;
    this.#reader = new ReportReader(folder);
    this.#metrics = new MetricsFile(join(folder, "metrics.jsonl"));
    this.#thumbnails = new Thumbnails(folder);
  }

  /**
   * Writes report.html, the page of `tessera watch` with everything inside: about 1 MB at most.
   * @param ending how the run ended, which is also written as ending.json; null while it goes on
   * @returns its path
   */
  async writePage(ending: RunEnding | null = null): Promise<string> {
    const path = join(this.#folder, "report.html");
    const made = await this.#thumbnails.make(chosenSheets(await this.#reader.sheets()));
    const page = await renderPage(
      await this.#reader.read((sheet) => made.get(keyOf(sheet)) ?? null, ending),
      false,
    );
    await writeAtomic(path, (file) => file.writeFile(page));
    if (ending) {
      const text = `${JSON.stringify(ending)}\n`;
      await writeAtomic(join(this.#folder, endingFile), (file) => file.writeFile(text));
    }
    return path;
  }

  /** Writes metrics.csv, a row for each step. @returns its path */
  async writeTable(): Promise<string> {
    const path = join(this.#folder, "metrics.csv"), text = formatCsv(await this.#metrics.read());
    await writeAtomic(path, (file) => file.writeFile(text));
    return path;
  }
}
