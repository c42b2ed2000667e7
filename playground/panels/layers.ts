// What each level of encoder and decoder makes of the picture, and where attention looks.
/// <reference lib="dom" />
import type { App } from "../app.ts";
import type { LayerMaps } from "../engine/layers.ts";
import { AttentionView } from "../page/attention.ts";
import { Latest } from "../page/client.ts";
import { showMap } from "../page/canvas.ts";
import { button, html } from "../page/dom.ts";
import { later } from "../page/later.ts";
import { watchSeen } from "../page/seen.ts";
import type { Panel } from "../panel.ts";

export const layersPanel: Panel = {
  id: "layers",
  title: "Layer by layer",
  sees:
    "From left to right you see what each level of the encoder, and then of the decoder, makes of the face: bright places are " +
    "where a level is active. " +
    "The encoder's maps get smaller and harder to read until only tokens are left, and the decoder's grow into a picture again.",
  chapter: "3-convolutions",
  mount,
};

const grey = (value: number): [number, number, number] => [value, value, value];

/** @param label what a screen reader says; "" if what is around it says that */
function mapCanvas(values: Uint8Array, width: number, label: string): HTMLCanvasElement {
  const words = label === "" ? { role: "presentation" } : { role: "img", "aria-label": label };
  const canvas = html("canvas", { className: "picture", ...words });
  later(() => showMap(canvas, values, width, grey));
  return canvas;
}

function mount(element: HTMLElement, app: App): void {
  let all: LayerMaps[] = [], chosen = "encoder.conv_in";
  const strips = ["encoder", "decoder"].map((half) =>
    html("div", {
      className: "strip",
      role: "group",
      "aria-label": `layers of the ${half}, in the order in which they run`,
    })
  );
  const maps = html("div", { className: "maps" }), title = html("h3", {}, "");
  const explanation = html("p", { className: "hint" });

  const choose = (path: string) => {
    chosen = path;
    for (const each of strips.flatMap((strip) => [...strip.children])) {
      each.setAttribute("aria-pressed", String((each as HTMLElement).dataset.path === path));
    }
    const layer = all.find((layer) => layer.path === path);
    if (!layer) return;
    const { width, height, channels, shown } = layer;
    title.textContent = path;
    explanation.textContent =
      `${channels} channels of ${width}x${height} numbers. Here are the ${shown.length} that vary most across ` +
      "the picture, each from black (its lowest value) to white (its highest).";
    maps.replaceChildren(...shown.map(({ channel, values }) =>
      html(
        "figure",
        {},
        mapCanvas(values, width, `channel ${channel} of ${path}`),
        html("figcaption", {}, `channel ${channel}`),
      )
    ));
  };
  const layerButton = ({ path, width, height, channels, strength }: LayerMaps) => {
    const made = button("", () => choose(path), {
      className: "layer",
      "aria-label": `${path}, ${width}x${height}`,
    });
    made.dataset.path = path;
    made.append(
      mapCanvas(strength, width, ""),
      html("span", {}, path.replace(/^(encoder|decoder)\./, "")),
      html("small", {}, `${width}x${height}, ${channels} channels`),
    );
    return made;
  };
  const show = (layers: LayerMaps[]) => {
    all = layers;
    const middle = layers.findIndex(({ path }) => path === "post_quant_conv");
    [layers.slice(0, middle), layers.slice(middle)].forEach((half, i) =>
      strips[i].replaceChildren(...half.map(layerButton))
    );
    choose(layers.some(({ path }) => path === chosen) ? chosen : layers[0].path);
  };

  const attention = new AttentionView((place) => {
    if (attention.tiles === app.face.value?.tokens.length) app.tile.set(place);
  });
  app.tile.watch((place) => {
    if (place >= 0 && attention.tiles === app.face.value?.tokens.length) attention.place = place;
  });

  element.append(
    html("h3", {}, "The encoder"),
    strips[0],
    html("h3", {}, "The decoder"),
    strips[1],
    title,
    explanation,
    maps,
    html("h3", {}, "Where attention looks"),
    attention.element,
  );
  const latest = new Latest(
    async (_: null) => {
      const face = app.face.value;
      return face && { ...await app.engine.ask("layers", { picture: face.picture }), picture: face.picture };
    },
    (found) => {
      if (!found) return;
      show(found.layers);
      attention.show(found.attention, found.picture);
    },
    (error) => app.fail(error),
  );
  watchSeen(element, [app.face], () => void latest.put(null));
}
