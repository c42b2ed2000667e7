// How far one token reaches in the picture.
/// <reference lib="dom" />
import type { App, Face } from "../app.ts";
import { heat, pen, pictureCanvas } from "../page/canvas.ts";
import { Latest } from "../page/client.ts";
import { html } from "../page/dom.ts";
import { TokenGrid } from "../page/token_grid.ts";
import type { Reach } from "../engine/reach.ts";
import type { Panel } from "../panel.ts";

export const reachPanel: Panel = {
  id: "reach",
  title: "How far one token reaches",
  sees:
    "The token under the cursor is replaced by the second face's token at that place, and the map shows where the picture changes and how much. " +
    "The change is strongest at the token's own tile, but it reaches the whole picture, because attention and group norm use all of it.",
  chapter: "3-convolutions",
  mount,
};

function mount(element: HTMLElement, app: App): void {
  const map = pictureCanvas("where the picture changes"),
    readout = html("p", { className: "readout", "aria-live": "polite" });
  const grid = new TokenGrid("Tiles of the face. Arrow keys choose the token whose reach is shown.", {
    point: (place) => app.tile.set(place),
  });
  const asked = new Latest(
    ({ face, tokens, place }: { face: Face; tokens: Int32Array; place: number }) => {
      const { vocabulary } = app.model.value!;
      const theirs = app.other.value?.tokens[place] ?? tokens[place];
      const replacement = theirs === tokens[place] ? (theirs + 1) % vocabulary : theirs;
      return app.engine.ask("reach", { tokens, grid: face.grid, place, replacement });
    },
    (reach) => {
      drawHeat(map, reach);
      const percent = (share: number) => `${Math.round(share * 100)} %`;
      readout.textContent = `${percent(reach.own)} of the change lies in the token's own tile, ` +
        `${percent(reach.near)} in the 3x3 tiles around it.`;
    },
    (error) => app.fail(error),
    ({ face }) => face === app.face.value,
  );
  let shown = "";
  const show = () => {
    const face = app.face.value, edit = app.edits.value.value, picture = app.painted.value?.picture;
    if (!face || !edit || !picture) return grid.show(null);
    const [rows, columns] = face.grid, middle = Math.floor(rows / 2) * columns + Math.floor(columns / 2);
    const place = app.tile.value < 0 ? middle : app.tile.value;
    grid.show({ grid: face.grid, color: () => [0, 0, 0], picture });
    grid.cursor = place;
    const key = `${place} ${edit.face} ${app.other.value?.tokens[place]}`;
    if (key === shown || !isSeen) return;
    shown = key;
    void asked.put({ face, tokens: edit.face, place });
  };
  element.append(
    html(
      "div",
      { className: "two" },
      html(
        "figure",
        {},
        grid.canvas,
        html("figcaption", {}, "the face, drawn from its tokens: point at a tile"),
      ),
      html("figure", {}, map, html("figcaption", {}, "the change, from dark (none) to light (most)")),
    ),
    readout,
  );
  let isSeen = false; // nothing is computed for a panel that is out of sight
  new IntersectionObserver(([entry]) => {
    isSeen = entry.isIntersecting;
    show();
  }).observe(element);
  app.painted.watch(show);
  app.other.watch(show);
  app.tile.watch(show);
}

/** Small changes are lifted by a square root, so that the eye sees them beside large ones. */
function drawHeat(canvas: HTMLCanvasElement, { width, height, change }: Reach): void {
  Object.assign(canvas, { width, height });
  const image = new ImageData(width, height), most = change.reduce((a, b) => Math.max(a, b), 1e-9);
  change.forEach((value, at) => image.data.set([...heat(Math.sqrt(value / most)), 255], at * 4));
  pen(canvas).putImageData(image, 0, 0);
}
