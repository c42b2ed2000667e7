// Takes pictures and checkpoints that are dropped on the page or pasted into it.
/// <reference lib="dom" />
import { type App, checkpointEndings } from "./app.ts";

/** Whether a file has the ending of a checkpoint. */
const isCheckpoint = (name: string): boolean =>
  checkpointEndings.some((ending) => name.toLowerCase().endsWith(ending));

/** Opens a file as what its name and content say. */
export async function takeFile(app: App, file: File): Promise<void> {
  if (!isCheckpoint(file.name)) return await app.openPicture(file);
  const isLpips = await app.during(`reading ${file.name}`, () => app.openLpips(file));
  if (isLpips === false) await app.openModel(file.name, file);
}

async function takeFiles(app: App, files: Iterable<File>): Promise<void> {
  for (const file of files) await takeFile(app, file);
}

export function takeDrops(app: App): void {
  const { classList } = document.documentElement;
  addEventListener("dragover", (event) => {
    event.preventDefault();
    classList.add("dragged");
  });
  addEventListener("dragleave", (event) => {
    if (event.relatedTarget === null) classList.remove("dragged");
  });
  addEventListener("drop", (event) => {
    event.preventDefault();
    classList.remove("dragged");
    void takeFiles(app, event.dataTransfer?.files ?? []);
  });
  addEventListener("paste", (event) => {
    void takeFiles(app, event.clipboardData?.files ?? []);
  });
}
