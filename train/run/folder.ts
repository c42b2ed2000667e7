// The folder of a run: runs/2026-05-01T12-30-00_faces/ with config.json, metrics.jsonl, images/, checkpoints/ and
// loss.png.
import { appendFile, copyFile, link, mkdir, readdir, readFile, rm, stat } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { type Panel, type Picture, plotCurves, savePng, sideBySide } from "../../data/index.ts";
import { writeAtomic } from "../../data/files/atomic.ts";

/** One line of metrics.jsonl. */
export type Metrics = { readonly step: number } & Record<string, number | string>;

/** The panels of loss.png with their metrics. Metrics that a run does not have are left out. */
const curves: readonly (Omit<Panel, "series"> & { names: readonly string[] })[] = [
  { title: "reconstruction", names: ["train/rec_loss", "val/rec_loss", "train/p_loss", "val/p_loss"] },
  { title: "PSNR, dB", names: ["val/psnr"] },
  { title: "codebook", names: ["train/quant_loss", "val/quant_loss"] },
  {
    title: "discriminator (hinge loss: 1 is no better than chance)",
    names: ["train/disc_loss", "train/logits_real", "train/logits_fake"],
  },
  { title: "adaptive weight", names: ["train/d_weight"], logScale: true },
];

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

  /** Uses an existing folder; `RunFolder.create` creates one. */
  constructor(path: string) {
    this.path = path;
  }

  /** Creates a new folder `<out>/<local time>_<name>`. If it already exists, a number is added. */
  static async create(out: string, name: string): Promise<RunFolder> {
    const now = new Date();
    const local = new Date(now.getTime() - now.getTimezoneOffset() * 60_000);
    const stamp = local.toISOString().slice(0, 19).replaceAll(":", "-");
    await mkdir(out, { recursive: true });
    for (let n = 1;; n++) {
      const path = join(out, `${stamp}_${name}${n === 1 ? "" : `-${n}`}`);
      try {
        await mkdir(path);
        return await new RunFolder(path).#prepare();
      } catch (error) {
        if ((error as { code?: string }).code !== "EEXIST") throw error;
      }
    }
  }

  /**
   * Returns the run folder that contains a checkpoint, or a new folder next to a checkpoint that was moved out of its
   * run.
   */
  static async around(checkpoint: string): Promise<RunFolder> {
    const folder = dirname(checkpoint);
    if (basename(folder) === "checkpoints") return await new RunFolder(dirname(folder)).#prepare();
    return await RunFolder.create(folder, "resumed");
  }

  async #prepare(): Promise<this> {
    await mkdir(join(this.path, "images"), { recursive: true });
    const checkpoints = join(this.path, "checkpoints");
    await mkdir(checkpoints, { recursive: true });
    // a process that was killed may have left unfinished files
    for (const name of await readdir(checkpoints)) {
      if (/^\..*\.tmp$/.test(name)) await rm(join(checkpoints, name), { force: true });
    }
    return this;
  }

  /** The path of checkpoints/last.safetensors. */
  get lastCheckpoint(): string {
    return join(this.path, "checkpoints", "last.safetensors");
  }

  /** Writes config.json, whole or not at all. */
  async writeConfig(config: object): Promise<void> {
    const text = JSON.stringify(config, null, 2) + "\n";
    await writeAtomic(join(this.path, "config.json"), async (handle) => {
      await handle.writeFile(text);
    });
  }

  /** Adds a line to metrics.jsonl. */
  async addMetrics(metrics: Metrics): Promise<void> {
    await appendFile(join(this.path, "metrics.jsonl"), JSON.stringify(metrics) + "\n");
  }

  /** Reads all lines so far. A line that was cut short by a crash is skipped. */
  async readMetrics(): Promise<Metrics[]> {
    let text: string;
    try {
      text = await readFile(join(this.path, "metrics.jsonl"), "utf8");
    } catch {
      return [];
    }
    return text.split("\n").flatMap((line) => {
      try {
        return [JSON.parse(line) as Metrics];
      } catch {
        return [];
      }
    });
  }

  /** Removes the lines after `step`, because a run that is resumed from there writes them again. */
  async rewindMetrics(step: number): Promise<void> {
    const kept = (await this.readMetrics()).filter((metrics) => metrics.step <= step);
    const text = kept.map((metrics) => JSON.stringify(metrics) + "\n").join("");
    await writeAtomic(join(this.path, "metrics.jsonl"), async (handle) => {
      await handle.writeFile(text);
    });
  }

  /** Saves inputs above their reconstructions as images/step-000250.png. */
  async saveImages(step: number, inputs: Picture[], reconstructions: Picture[]): Promise<void> {
    await savePng(
      join(this.path, "images", `${stepName(step)}.png`),
      await sideBySide([inputs, reconstructions]),
    );
  }

  /** Gives the last checkpoint a second name in checkpoints/, and removes the file that it replaces. */
  async keepLastAsBest(name: string, replaces: string | null): Promise<void> {
    const path = join(this.path, "checkpoints", name);
    await rm(path, { force: true });
    // A link needs no second copy on disk: the next checkpoint replaces the name of the last one, not its content.
    await link(this.lastCheckpoint, path).catch(() => copyFile(this.lastCheckpoint, path));
    if (replaces !== null && replaces !== name) {
      await rm(join(this.path, "checkpoints", replaces), { force: true });
    }
  }

  /** Draws metrics.jsonl as loss.png. @returns its path, or null if there is nothing to draw yet */
  async drawCurves(): Promise<string | null> {
    const metrics = await this.readMetrics();
    const panels = curves.flatMap(({ names, ...panel }): Panel[] => {
      const series = names.map((name) => {
        const points = metrics.filter((m) => typeof m[name] === "number");
        return {
          name,
          steps: points.map(({ step }) => step),
          values: points.map((m) => m[name] as number),
        };
      }).filter(({ values }) => values.length > 1 && values.some((value) => value !== 0));
      return series.length > 0 ? [{ ...panel, series }] : [];
    });
    if (panels.length === 0) return null;
    const path = join(this.path, "loss.png");
    await savePng(path, await plotCurves(panels, { columns: panels.length > 1 ? 2 : 1, width: 1400 }));
    return path;
  }
}

/** Returns the first part of the file names of a step: step-000250. */
export function stepName(step: number): string {
  return `step-${String(step).padStart(6, "0")}`;
}

/**
 * Finds the checkpoint to resume: the file itself, or the last one in a run folder, which may also be a run by taming.
 * @throws if there is none.
 */
export async function checkpointOf(runOrFile: string): Promise<string> {
  const info = await stat(runOrFile).catch(() => null);
  if (info === null) throw new Error(`${runOrFile}: there is no such file or folder to resume from`);
  if (!info.isDirectory()) return runOrFile;
  const { lastCheckpoint } = new RunFolder(runOrFile);
  for (const path of [lastCheckpoint, join(dirname(lastCheckpoint), "last.ckpt")]) {
    if (await stat(path).catch(() => null)) return path;
  }
  throw new Error(
    `${runOrFile}: this folder has no checkpoints/last.safetensors (or last.ckpt) to resume from`,
  );
}
