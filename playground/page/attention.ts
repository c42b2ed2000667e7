// Where the attention blocks look: the grid of one block, in which a tile is pointed at, and how much it takes from each tile.
/// <reference lib="dom" />
import type { AttentionMap } from "../engine/layers.ts";
import type { Picture } from "../../core.ts";
import { heat, pictureCanvas, showPicture } from "./canvas.ts";
import { html } from "./dom.ts";
import { TokenGrid } from "./token_grid.ts";

export class AttentionView {
  readonly element: HTMLElement;
  readonly #grid: TokenGrid;
  readonly #choice = html("select", { "aria-label": "attention block" });
  readonly #readout = html("p", { className: "readout", "aria-live": "polite" });
  readonly #caption = html("figcaption", {});
  readonly #point: (place: number) => void;
  #maps: readonly AttentionMap[] = [];
  #picture: Picture | null = null;
  /** -1: the middle. */
  #place = -1;
  readonly #lit = pictureCanvas("the picture, lit where the tile takes from");

  /** @param point is called with the tile that is pointed at, if the block has as many tiles as there are tokens */
  constructor(point: (place: number) => void) {
    this.#point = point;
    this.#grid = new TokenGrid("Attention of one tile. Arrow keys move from tile to tile.", {
      point: (place) => {
        this.place = place;
        this.#point(place);
      },
    });
    this.#choice.onchange = () => this.#draw();
    this.element = html(
      "div",
      { className: "beside attention" },
      html("figure", {}, this.#grid.canvas, this.#caption),
      html(
        "div",
        {},
        html("label", {}, "Attention block ", this.#choice),
        html(
          "p",
          { className: "hint" },
          "Each tile asks all others a question and takes from those whose key fits it best. Point at a tile to see from where it takes.",
        ),
        this.#readout,
        html(
          "figure",
          { className: "small" },
          this.#lit,
          html("figcaption", {}, "the picture, lit where the tile takes from"),
        ),
      ),
    );
  }

  /** @param picture what the tiles show */
  show(maps: readonly AttentionMap[], picture: Picture): void {
    const before = this.#choice.value || "encoder.mid.attn_1";
    this.#maps = maps;
    this.#picture = picture;
    this.#choice.replaceChildren(...maps.map(({ path }) => html("option", { value: path }, path)));
    if (maps.some(({ path }) => path === before)) this.#choice.value = before;
    this.element.hidden = maps.length === 0;
    this.#draw();
  }

  /** How many tiles the chosen block has. */
  get tiles(): number {
    const map = this.#map;
    return map ? map.width * map.height : 0;
  }

  set place(place: number) {
    this.#place = place;
    this.#draw();
  }

  get #map(): AttentionMap | undefined {
    return this.#maps.find(({ path }) => path === this.#choice.value);
  }

  #draw(): void {
    const map = this.#map;
    if (!map) return this.#grid.show(null);
    const { width, height, weights, path } = map,
      tiles = width * height,
      at = this.#place < 0 || this.#place >= tiles ? (height >> 1) * width + (width >> 1) : this.#place;
    const row = weights.subarray(at * tiles, (at + 1) * tiles), most = Math.max(...row);
    this.#grid.show({
      grid: [height, width],
      color: (place) => heat(Math.sqrt(row[place] / most)),
      text: (place) => row[place] >= 0.005 ? `${Math.round(row[place] * 100)}` : "",
    });
    this.#grid.cursor = at;
    this.#light(map, row, most);
    this.#caption.textContent = `${path}: how many percent the tile in the frame takes from each tile`;
    const name = (place: number) => `row ${Math.floor(place / width) + 1}, column ${place % width + 1}`;
    const first = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 3);
    const half = [...row].sort((a, b) => b - a);
    let sum = 0;
    const needed = half.findIndex((value) => (sum += value) >= 0.5) + 1;
    this.#readout.textContent = `The tile in ${name(at)} takes half of what it gets from ${
      needed === 1 ? "one tile" : `${needed} tiles`
    }, most of all from ${
      first.map((place) => `${name(place)} (${Math.round(row[place] * 100)} %)`).join("; ")
    }.`;
  }

  /** Darkens the picture where the tile takes little from. */
  #light({ width, height }: AttentionMap, row: Float32Array, most: number): void {
    const picture = this.#picture;
    if (!picture) return;
    const pixels = picture.pixels.map((value, i) => {
      const x = Math.floor(i / 3) % picture.width, y = Math.floor(i / 3 / picture.width);
      const tile = Math.floor(y * height / picture.height) * width + Math.floor(x * width / picture.width);
      return value * (0.12 + 0.88 * Math.sqrt(row[tile] / most));
    });
    showPicture(this.#lit, { ...picture, pixels });
  }
}
