// Where faces come from: a file, the examples, the camera and a drawing.
/// <reference lib="dom" />
import type { App } from "./app.ts";
import { Camera } from "./page/camera.ts";
import { button, chooseFile } from "./page/dom.ts";
import { Drawing } from "./page/drawing.ts";
import { exampleCount, exampleFace } from "./page/examples.ts";

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

/**
 * All ways to the first face.
 * @param shown the canvas that shows it, on whose picture one begins to draw
 * @returns buttons, and the sheet for drawing, which takes the place of the canvas while it is used
 */
export function faceSources(
  app: App,
  shown: HTMLCanvasElement,
): { buttons: HTMLButtonElement[]; sheet: HTMLElement } {
  const drawing = new Drawing((picture) => void app.openPicture(picture));
  const camera = new Camera((picture) => app.openPicture(picture));
  const use = (way: "camera" | "drawing" | null) => {
    if (way === "drawing") drawing.start(shown);
    drawing.element.hidden = way !== "drawing";
    shown.hidden = way === "drawing";
    draw.ariaPressed = String(way === "drawing");
    film.ariaPressed = String(way === "camera");
    if (way !== "camera") return camera.stop();
    void camera.run().catch((error) => app.fail(error)).finally(() => film.ariaPressed = "false");
  };
  const film = button("Camera", () => use(camera.isOn ? null : "camera"), { "aria-pressed": false });
  const draw = button("Draw", () => use(drawing.element.hidden ? "drawing" : null), {
    "aria-pressed": false,
  });
  const others = faceButtons(app, "face", 0);
  for (const other of others) other.addEventListener("click", () => use(null));
  return { buttons: [...others, film, draw], sheet: drawing.element };
}
