// The folder of a run: runs/2026-05-01T12-30-00_faces/ with config.json, data/, metrics.jsonl, images/, checkpoints/, loss.png
// and before-after.png. docs/runs.md says what each of them is.
import { createReadStream } from "node:fs";
import { link, mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Picture, readImage, savePng, sideBySide } from "../../data/index.ts";
import { makeFolder, removeFile, removeLeftovers, writeAtomic, writeError } from "../../data/files/atomic.ts";
import { LineFile } from "../../data/files/line_file.ts";
import type { Ranks } from "../distributed/ranks.ts";
import { endingFile } from "../report/ending.ts";
import { type Metrics, MetricsFile } from "../report/metrics_file.ts";
import { parseSheetName, type SheetKind, sheetName, sheetPadding } from "../report/sheets.ts";
import type { Reconstructed } from "../report/worst.ts";
import { drawCurves } from "./curves.ts";
import { RunLock } from "./lock.ts";

/**
 * The files of one run.
 * @example A folder for your own metrics
 * ```ts
 * import { RunFolder } from "@tessera/vqgan";
 *
 * const run = await RunFolder.create("runs", "faces");
 * await run.addMetrics({ step: 10, "train/rec_loss": 0.4 });
 * ```
 */
export class RunFolder {
  /** The path of the folder. */
  readonly path: string;
  readonly #metrics: LineFile;
  #lock: RunLock | null = null;

  /** Uses an existing folder; `RunFolder.create` creates one. */
  constructor(path: string) {
    this.path = path;
    this.#metrics = new LineFile(join(path, "metrics.jsonl"));
  }

  /** Creates a new folder `<out>/<local time>_<name>`. If it already exists, a number is added. */
  static async create(out: string, name: string): Promise<RunFolder> {
    const now = new Date();
    const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000);
    const stamp = local.toISOString().slice(0, 19).replaceAll(":", "-");
    await makeFolder(out);
    for (let n = 1;; n++) {
      const path = join(out, `${stamp}_${name}${n === 1 ? "" : `-${n}`}`);
      try {
        await mkdir(path);
      } catch (error) {
        if ((error as { code?: string }).code === "EEXIST") continue;
        throw writeError(path, error);
      }
      return new RunFolder(path);
    }
  }

  /** The path of checkpoints/last.safetensors. */
  get lastCheckpoint(): string {
    return this.checkpoint("last.safetensors");
  }

  /** The path of before-after.png. */
  get comparison(): string {
    return join(this.path, "before-after.png");
  }

  /** The path of a checkpoint. */
  checkpoint(name: string): string {
    return join(this.path, "checkpoints", name);
  }

  /** Whether there is a checkpoint with this name. */
  async hasCheckpoint(name: string): Promise<boolean> {
    return await exists(this.checkpoint(name));
  }

  /** Makes a folder inside, also if somebody has removed it, and returns its path. */
  async #within(name: string): Promise<string> {
    const path = join(this.path, name);
    await makeFolder(path);
    return path;
  }

  /** Makes the folder of the checkpoints. */
  async prepareCheckpoints(): Promise<void> {
    await this.#within("checkpoints");
  }

  /** Runs `fill`. If it throws, the folder is removed, because an empty run is of no use. */
  async removedOnError<T>(fill: () => Promise<T>): Promise<T> {
    try {
      return await fill();
    } catch (error) {
      this.release();
      await rm(this.path, { recursive: true, force: true });
      throw error;
    }
  }

  /**
   * Makes the folder belong to this process until `release`, and removes what an ended process has left unfinished in it.
   * @returns unfinished files that stay, because it cannot be found out whether their process runs
   * @throws RunInUseError if it belongs to another process
   */
  async take(): Promise<string[]> {
    if (this.#lock) return [];
    this.#lock = await RunLock.take(this.path);
    const folders = ["", "images", "checkpoints", "data"].map((name) => join(this.path, name));
    const left = folders.map(async (folder) => {
      const names = await removeLeftovers(folder, undefined, this.#lock?.before);
      return names.map((name) => join(folder, name));
    });
    return (await Promise.all(left)).flat();
  }

  /** Shows other processes that this one is alive, from now on until `release`. */
  startHeartbeat(): void {
    this.#lock?.start();
  }

  /** Checks that no other process has taken the folder meanwhile. @throws RunTakenError if one has */
  checkOwned(): void {
    this.#lock?.check();
  }

  /** Lets other processes use the folder. */
  release(): void {
    this.#lock?.release();
    this.#lock = null;
  }

  /** Writes config.json, whole or not at all. */
  async writeConfig(config: object): Promise<void> {
    await this.#write("config.json", JSON.stringify(config, null, 2) + "\n");
  }

  /** Writes the list of the pictures, under its hash. */
  async writePictures(hash: string, list: string): Promise<void> {
    await this.#within("data");
    await this.#write(join("data", `${hash}.jsonl`), list);
  }

  /** Reads a list of pictures; null if it is missing. */
  async readPictures(hash: string): Promise<string | null> {
    return await readFile(join(this.path, "data", `${hash}.jsonl`), "utf8").catch(() => null);
  }

  async #write(name: string, text: string): Promise<void> {
    await writeAtomic(join(this.path, name), (file) => file.writeFile(text));
  }

  /** Adds a line to metrics.jsonl. @throws if it cannot be written; it is then written with the next line */
  async addMetrics(metrics: Metrics): Promise<void> {
    await this.#metrics.add(JSON.stringify(metrics));
  }

  /** Writes the lines that could not be written before. @returns how many still wait */
  async flushMetrics(): Promise<number> {
    await this.#metrics.flush().catch(() => {});
    return this.#metrics.waiting;
  }

  /** Reads all lines so far. A line that was cut short by a crash is skipped. */
  async readMetrics(): Promise<Metrics[]> {
    return [...await new MetricsFile(this.#metrics.path).read()];
  }

  /** Removes what a run that goes on from `step` makes again: the metrics and pictures after it, and how it ended. */
  async rewind(step: number): Promise<void> {
    const rewritten = async () => {
      const all = await this.readMetrics(), kept = all.filter((metrics) => metrics.step <= step);
      if (kept.length < all.length) await this.#writeMetrics(kept);
    };
    const later = (await this.#images()).flatMap(([name, made]) => made > step ? [this.#image(name)] : []);
    const removed = [join(this.path, endingFile), this.comparison, ...later].map(removeFile);
    for (const done of await Promise.allSettled([...removed, rewritten()])) { // one failure does not keep the others from being done
      if (done.status === "rejected") throw done.reason;
    }
  }

  /**
   * Begins this folder with what another run had when it saved a checkpoint: metrics, pictures, the lists of pictures and the
   * best checkpoint. `adopt` then makes the checkpoint the last one.
   * @param best the name of the best checkpoint at that time, which may be gone
   */
  async branchFrom(other: RunFolder, step: number, best: string | null): Promise<void> {
    for (const name of ["checkpoints", "images", "data"]) await this.#within(name);
    await this.#writeMetrics((await other.readMetrics()).filter((metrics) => metrics.step <= step));
    for (const [name, made] of await other.#images()) {
      if (made <= step) await linkOrCopy(other.#image(name), this.#image(name));
    }
    for (const name of await readdir(join(other.path, "data")).catch(() => [])) {
      if (/^[0-9a-f]{16}\.jsonl$/.test(name)) {
        await linkOrCopy(join(other.path, "data", name), join(this.path, "data", name));
      }
    }
    if (best !== null && await other.hasCheckpoint(best)) {
      await linkOrCopy(other.checkpoint(best), this.checkpoint(best));
    }
  }

  /** Makes a checkpoint of another folder the last one of this folder, which is a run from then on. */
  async adopt(checkpoint: string): Promise<void> {
    await linkOrCopy(checkpoint, this.lastCheckpoint);
  }

  async #writeMetrics(metrics: readonly Metrics[]): Promise<void> {
    await this.#write("metrics.jsonl", metrics.map((one) => JSON.stringify(one) + "\n").join(""));
  }

  /** The sheets in images/, and what is written beside them, with their steps. */
  async #images(): Promise<[name: string, step: number][]> {
    const names = await readdir(join(this.path, "images")).catch(() => []);
    return names.flatMap((name) => {
      const sheet = parseSheetName(name);
      return sheet ? [[name, sheet.step]] : [];
    });
  }

  #image(name: string): string {
    return join(this.path, "images", name);
  }

  /**
   * Saves pictures above their reconstructions as images/step-000250.png, or worst-000250.png, and beside it as .json which
   * pictures they are.
   */
  async saveSheet(kind: SheetKind, step: number, pictures: readonly Reconstructed[]): Promise<void> {
    await this.#within("images");
    const name = sheetName(kind, step),
      rows = [pictures.map(({ input }) => input), pictures.map(({ output }) => output)];
    await savePng(this.#image(`${name}.png`), await sideBySide(rows, { padding: sheetPadding }));
    const entries = pictures.map(({ path, psnr }) => ({ path, psnr }));
    await this.#write(join("images", `${name}.json`), JSON.stringify({ step, pictures: entries }) + "\n");
  }

  /** Reads the sheet of a step. @throws ImageError if there is none */
  async readImages(step: number): Promise<Picture> {
    return await readImage(this.#image(`${sheetName("step", step)}.png`));
  }

  /** Gives the last checkpoint a second name in checkpoints/. */
  async keepLastAs(name: string): Promise<void> {
    await linkOrCopy(this.lastCheckpoint, this.checkpoint(name));
  }

  /** Removes a checkpoint that was kept. */
  async removeCheckpoint(name: string): Promise<void> {
    await removeFile(this.checkpoint(name));
  }

  /** Gives a checkpoint another name, in place of the one that has it. */
  async renameCheckpoint(from: string, to: string): Promise<void> {
    const path = this.checkpoint(to);
    await rename(this.checkpoint(from), path).catch((error) => {
      throw writeError(path, error);
    });
  }

  /** Draws metrics.jsonl as loss.png. @returns its path, or null if there is nothing to draw yet */
  async drawCurves(): Promise<string | null> {
    const path = join(this.path, "loss.png");
    return await drawCurves(path, await this.readMetrics()) ? path : null;
  }
}

/** Lets rank 0 make the folder. The others only know where it is. */
export async function folderOfAll(ranks: Ranks, make: () => Promise<RunFolder>): Promise<RunFolder> {
  let made: RunFolder | null = null;
  const path = await ranks.first("making the folder", async () => (made = await make()).path);
  return made ?? new RunFolder(path);
}

/**
 * Gives a file a second name, in place of what has that name now. A link takes no room: a checkpoint is replaced as a whole,
 * and its content is never changed. Where there are no links, the file is copied.
 */
async function linkOrCopy(from: string, to: string): Promise<void> {
  const isSame = await exists(to) && (await stat(from)).ino === (await stat(to)).ino;
  if (isSame) return;
  await removeFile(to);
  try {
    await link(from, to);
  } catch {
    await writeAtomic(to, async (file) => {
      for await (const chunk of createReadStream(from)) await file.writeFile(chunk);
    });
  }
}

async function exists(path: string): Promise<boolean> {
  return await stat(path).then(() => true, () => false);
}

/** Returns the name of the checkpoint of a step: step-000250.safetensors. */
export function fileOfStep(step: number): string {
  return `${stepName(step)}.safetensors`;
}

/** Returns the first part of the file names of a step: step-000250. */
export function stepName(step: number): string {
  return `step-${String(step).padStart(6, "0")}`;
}
