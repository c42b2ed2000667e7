// What two panels need for the second face: buttons that choose it.
/// <reference lib="dom" />
import type { App } from "../app.ts";
import { button, chooseFile } from "./dom.ts";
import { exampleCount, exampleFace } from "./examples.ts";

/** Buttons that choose a face: from a file, or the next example from a number on. */
export function faceButtons(app: App, which: "face" | "other", first: number): HTMLButtonElement[] {
  let example = first;
  const next = async () => {
    example = (example + 1) % exampleCount;
    await app.openPicture(await exampleFace(example), which);
  };
  return [
    button("Choose a picture", () => chooseFile("image/*", (file) => void app.openPicture(file, which))),
    button("Another example", () => void next().catch((error) => app.fail(error))),
  ];
}
