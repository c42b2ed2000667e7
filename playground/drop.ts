// Takes pictures and checkpoints that are dropped on the page or pasted into it.
/// <reference lib="dom" />
import { type App, checkpointEndings } from "./app.ts";

/** Whether a file has the ending of a checkpoint. */
const isCheckpoint = (name: string): boolean =>
  checkpointEndings.some((ending) => name.toLowerCase().endsWith(ending));

/** Opens a file as what its name and type say. */
export async function takeFile(app: App, file: File): Promise<void> {
  if (isCheckpoint(file.name)) await app.openModel(file.name, file);
  else await app.openPicture(file);
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
    const [file] = event.dataTransfer?.files ?? [];
    if (file) void takeFile(app, file);
  });
  addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (file) void takeFile(app, file);
  });
}
