// Going from one face to another, by their vectors or by their pixels.
/// <reference lib="dom" />
import type { Picture } from "../../core.ts";
import type { App, Face } from "../app.ts";
import { pictureCanvas, showPicture } from "../page/canvas.ts";
import { Latest } from "../page/client.ts";
import { choice, html } from "../page/dom.ts";
import { Slider } from "../page/slider.ts";
import type { Panel } from "../panel.ts";

type Way = "vectors" | "pixels";

export const mixPanel: Panel = {
  id: "mix",
  title: "Between two faces",
  sees:
    "The encoder's vectors of two faces are mixed, and each mixed vector is replaced by the code nearest to it. " +
    "In the middle nearly all tokens belong to neither face, while mixing the pixels instead shows both faces at once.",
  chapter: "4-autoencoder",
  mount,
};

/** Two faces, and the share of the second one. */
interface Mixture {
  readonly first: Face;
  readonly second: Face;
  readonly share: number;
}

function mount(element: HTMLElement, app: App): void {
  let way: Way = "vectors";
  const [a, between, b] = ["the first face", "the face in between", "the second face"].map(pictureCanvas);
  const readout = html("p", { className: "readout", "aria-live": "polite" });
  const mixed = new Latest(
    ({ first, second, share }: Mixture) =>
      app.engine.ask("mix", { a: first.latents, b: second.latents, grid: first.grid, share }),
    ({ tokens, picture }, { first, second }) => {
      if (way !== "vectors") return;
      showPicture(between, picture);
      const [ofA, ofB] = [first, second].map((face) =>
        tokens.filter((token, at) => token === face.tokens[at])
      );
      const neither = tokens.filter((token, at) => token !== first.tokens[at] && token !== second.tokens[at]);
      readout.textContent =
        `Of ${tokens.length} tokens, ${ofA.length} belong to the first face, ${ofB.length} to the second ` +
        `and ${neither.length} to neither.`;
    },
    (error) => app.fail(error),
    ({ first, second }) => first === app.face.value && second === app.other.value,
  );
  const show = () => {
    const first = app.face.value, second = app.other.value, part = slider.value / 100;
    if (!first || !second || first.latents.length !== second.latents.length) return;
    showPicture(a, first.picture);
    showPicture(b, second.picture);
    if (way === "vectors") return void mixed.put({ first, second, share: part });
    showPicture(between, mixPixels(first.picture, second.picture, part));
    readout.textContent =
      "Mixed pixels are like a double exposure: both faces are there, and both are faint.";
  };
  const range = { min: 0, max: 100, step: 1, value: 50, text: (percent: number) => `${percent} %` };
  const slider = new Slider("Share of the second face", range, show);
  element.append(
    html(
      "div",
      { className: "three" },
      html("figure", {}, a, html("figcaption", {}, "the first face")),
      html("figure", {}, between, html("figcaption", {}, "in between")),
      html("figure", {}, b, html("figcaption", {}, "the second face")),
    ),
    slider.element,
    html(
      "div",
      { className: "bar" },
      choice<Way>("Mix", { vectors: "vectors", pixels: "pixels" }, way, (chosen) => {
        way = chosen;
        show();
      }),
      readout,
    ),
  );
  app.face.watch(show);
  app.other.watch(show);
}

function mixPixels(a: Picture, b: Picture, share: number): Picture {
  return { ...a, pixels: a.pixels.map((value, i) => Math.round(value + (b.pixels[i] - value) * share)) };
}
