// The event files of a run, which TensorBoard reads: events.out.tfevents.* in the run's folder. Each training writes a new one,
// which begins by telling TensorBoard to forget the steps that were rewound.
import { constants } from "node:fs";
import { type FileHandle, open, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { writeError } from "../../../data/files/atomic.ts";
import { place } from "../../../data/files/process.ts";
import type { Metrics } from "../metrics_file.ts";
import { type SheetKind, sheetName, SheetReader } from "../sheets.ts";
import { encodeEvent, type EventContent, type Histogram } from "./events.ts";
import { frame } from "./records.ts";

/** What is no measurement but says where the run is. */
const hidden: ReadonlySet<string> = new Set(["step", "seconds_left"]);

/** Tags of the sheets of pictures. */
const tags: Readonly<Record<SheetKind, string>> = { step: "samples", worst: "worst" };

/** Writes one event file. */
export class EventFile {
  readonly #run: string;
  /** The path of the file. */
  readonly path: string;
  /** The length of the whole records in it. */
  #length = 0;

  private constructor(run: string, name: string) {
    this.#run = run;
    this.path = join(run, name);
  }

  /**
   * Begins a new event file in the folder of a run. If it is the first one, it gets what the run has done so far.
   * @param step the step from which the run goes on
   * @param metrics the metrics up to this step
   * @throws if it cannot be written
   */
  static async begin(run: string, step: number, metrics: readonly Metrics[]): Promise<EventFile> {
    const times = (await readdir(run)).map((name) =>
      Number(/^events\.out\.tfevents\.(\d+)\./.exec(name)?.[1] ?? 0)
    );
    const last = Math.max(0, ...times), now = Math.floor(Date.now() / 1000);
    // TensorBoard reads files in the order of their names
    const file = new EventFile(
      run,
      `events.out.tfevents.${Math.max(now, last + 1)}.${place()}.${process.pid}`,
    );
    await file.#add(0, { kind: "version" });
    if (last > 0) await file.#add(step + 1, { kind: "start" });
    else {
      for (const row of metrics) await file.scalars(row);
      for (const sheet of await new SheetReader(run).list()) await file.sheet(sheet.kind, sheet.step);
    }
    return file;
  }

  /** Adds a line of metrics. */
  async scalars(metrics: Metrics): Promise<void> {
    const values = Object.entries(metrics).filter((entry): entry is [string, number] =>
      typeof entry[1] === "number" && !hidden.has(entry[0])
    );
    await this.#add(metrics.step, { kind: "scalars", values });
  }

  /** Adds a sheet of pictures from images/. */
  async sheet(kind: SheetKind, step: number): Promise<void> {
    const png = await readFile(join(this.#run, "images", `${sheetName(kind, step)}.png`));
    const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
    await this.#add(step, { kind: "picture", tag: tags[kind], png, width, height });
  }

  /** Adds histograms by their tags. */
  async histograms(step: number, histograms: readonly (readonly [tag: string, Histogram])[]): Promise<void> {
    await this.#add(step, { kind: "histograms", histograms });
  }

  /** @throws if it cannot be written; then nothing of the event is left in the file */
  async #add(step: number, content: EventContent): Promise<void> {
    const record = frame(encodeEvent(Date.now() / 1000, step, content));
    let file: FileHandle | null = null;
    try {
      file = await open(this.path, constants.O_RDWR | constants.O_CREAT);
      for (let at = 0; at < record.length;) {
        at += (await file.write(record, at, record.length - at, this.#length + at)).bytesWritten;
      }
      this.#length += record.length;
    } catch (error) {
      await file?.truncate(this.#length).catch(() => {});
      throw writeError(this.path, error);
    } finally {
      await file?.close();
    }
  }
}
