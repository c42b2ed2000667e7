// The first panel: a picture, its tokens, and what the decoder makes of them.
/// <reference lib="dom" />
import { psnr } from "../../train/metrics.ts";
import type { App, Face } from "../app.ts";
import { choice, html } from "../page/dom.ts";
import { heat, pictureCanvas, showPicture } from "../page/canvas.ts";
import { faceSources } from "../faces.ts";
import { TokenGrid } from "../page/token_grid.ts";
import { TokenTable } from "../page/token_table.ts";
import type { Panel } from "../panel.ts";

type View = "tokens" | "error";

const captions: Readonly<Record<View, string>> = {
  tokens: "its tokens: for each tile the number of a code; similar codes have similar colours",
  error:
    "the quantization error: how far each vector was from the code that replaced it, from dark (near) to light (far)",
};

export const facePanel: Panel = {
  id: "face",
  title: "A face becomes numbers",
  sees: "The encoder cuts the picture into tiles and writes one whole number for each, its token. " +
    "The decoder draws the picture on the right from these numbers alone.",
  chapter: "5-codebook",
  mount,
};

function mount(element: HTMLElement, app: App): void {
  let view: View = "tokens";
  const original = pictureCanvas("the picture"),
    again = pictureCanvas("the picture that the decoder made of the tokens");
  const caption = html("figcaption", {}, captions.tokens), numbers = html("p", { className: "numbers" });
  const readout = html("p", { className: "readout", "aria-live": "polite" });
  const table = new TokenTable("The tokens as a table");
  const grid = new TokenGrid("Tokens of the picture. Arrow keys move from tile to tile.", {
    point: (place) => app.tile.set(place),
  });

  const draw = () => {
    const face = app.face.value, model = app.model.value;
    if (!face || !model) return grid.show(null);
    const worst = Math.max(...face.errors) || 1;
    grid.show({
      grid: face.grid,
      color: (place) =>
        view === "error"
          ? heat(face.errors[place] / worst)
          : model.colors.subarray(face.tokens[place] * 3, face.tokens[place] * 3 + 3),
      text: (place) => view === "error" ? face.errors[place].toFixed(1) : String(face.tokens[place]),
    });
  };
  const say = () => {
    const face = app.face.value, model = app.model.value, decoded = app.decoded.value;
    if (!face || !model || !decoded) return;
    const { picture, tokens } = face;
    const bits = tokens.length * Math.ceil(Math.log2(model.vocabulary)), bytes = Math.ceil(bits / 8);
    const size = picture.width * picture.height * 3;
    numbers.replaceChildren(
      number(
        `${psnr(picture, decoded.picture).toFixed(2)} dB`,
        "PSNR: how close the copy is; higher is closer",
      ),
      number(`${tokens.length}`, `tokens, ${new Set(tokens).size} of them different`),
      number(`${bytes} bytes`, `instead of ${size.toLocaleString("en")}: 1/${Math.round(size / bytes)}`),
      number(`${Math.round(face.ms)} + ${Math.round(decoded.ms)} ms`, "to encode and to decode"),
    );
  };
  const point = () => {
    const face = app.face.value, place = app.tile.value;
    grid.cursor = place;
    readout.textContent = face && place >= 0
      ? describe(face, place)
      : "Point at a tile, or move with the arrow keys.";
  };

  const { buttons, sheet } = faceSources(app, original);
  element.append(
    html(
      "div",
      { className: "bar" },
      ...buttons,
      html("span", { className: "hint" }, "or drop one anywhere on the page"),
    ),
    html(
      "div",
      { className: "three" },
      html("figure", {}, original, sheet, html("figcaption", {}, "a picture")),
      html("figure", {}, grid.canvas, caption),
      html("figure", {}, again, html("figcaption", {}, "the same, drawn from the tokens")),
    ),
    html(
      "div",
      { className: "bar" },
      choice<View>("Show", { tokens: "tokens", error: "quantization error" }, view, (value) => {
        view = value;
        caption.textContent = captions[view];
        draw();
      }),
      readout,
    ),
    numbers,
    table.element,
  );
  app.face.watch((face) => {
    if (!face) return;
    showPicture(original, face.picture);
    table.show(face.tokens, face.grid[1]);
    draw();
    point();
  });
  app.decoded.watch((decoded) => {
    showPicture(again, decoded?.picture ?? null);
    say();
  });
  app.tile.watch(point);
}

function number(value: string, meaning: string): HTMLElement {
  return html("span", {}, html("strong", {}, value), html("small", {}, meaning));
}

function describe({ grid: [, columns], tokens, errors }: Face, place: number): string {
  const row = Math.floor(place / columns) + 1, column = place % columns + 1;
  return `Row ${row}, column ${column}: token ${tokens[place]}, quantization error ${
    errors[place].toFixed(2)
  }`;
}
