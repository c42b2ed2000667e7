// The grid of tokens on a canvas: colours, numbers where there is room, a cursor that pointer and arrow keys move, and strokes.
/// <reference lib="dom" />
import type { Picture } from "../../data/pictures/picture.ts";
import { css, pen, showPicture } from "./canvas.ts";
import { html } from "./dom.ts";

/** What a grid shows. */
export interface GridView {
  readonly grid: readonly [rows: number, columns: number];
  /** The colour of the tile at a place. */
  color(place: number): ArrayLike<number>;
  /** Shown instead of colours, with the grid over it. */
  readonly picture?: Picture | null;
  /** The number in a tile, shown where there is room; none by default. */
  text?(place: number): string;
  /** Whether a tile is marked as changed. */
  isMarked?(place: number): boolean;
  /** The rectangle that is being drawn, in tiles. */
  readonly frame?: Frame | null;
}

/** A rectangle of tiles; right and bottom belong to it. */
export interface Frame {
  readonly left: number;
  readonly top: number;
  readonly right: number;
  readonly bottom: number;
}

/** What is done with the grid. Places are counted row by row. */
export interface GridActions {
  /** The cursor is at another place. */
  point(place: number): void;
  /** The pointer draws from the tile where it went down; also Space and Enter, with one tile. */
  draw?(place: number, start: number): void;
  /** The pointer went up. */
  drawn?(place: number, start: number): void;
  /** Another key was pressed. @returns whether it meant something */
  press?(event: KeyboardEvent): boolean;
}

export class TokenGrid {
  readonly canvas: HTMLCanvasElement;
  readonly #actions: GridActions;
  readonly #buffer = html("canvas");
  #view: GridView | null = null;
  #cursor = -1;
  #start: number | null = null;
  #isStale = false;

  /** @param label says what the grid shows and which keys do what */
  constructor(label: string, actions: GridActions) {
    this.#actions = actions;
    const { draw } = actions;
    this.canvas = html("canvas", {
      className: draw ? "tokens paints" : "tokens",
      tabIndex: 0,
      role: "application",
      "aria-label": label,
      "aria-roledescription": "grid of tokens",
    });
    this.canvas.addEventListener("pointerdown", (event) => this.#down(event));
    this.canvas.addEventListener("pointermove", (event) => this.#move(event));
    this.canvas.addEventListener("pointerup", () => this.#up());
    this.canvas.addEventListener("pointercancel", () => this.#up());
    this.canvas.addEventListener("keydown", (event) => this.#key(event));
    new ResizeObserver(() => this.#refresh()).observe(this.canvas);
  }

  /** Shows something else. */
  show(view: GridView | null): void {
    const { picture } = view ?? {};
    if (picture && picture !== this.#view?.picture) showPicture(this.#buffer, picture);
    this.#view = view;
    this.#refresh();
  }

  /** Moves the cursor; -1 hides it. */
  set cursor(place: number) {
    if (this.#cursor === place) return;
    this.#cursor = place;
    this.#refresh();
  }

  /** Paints once before the browser shows the next frame, however much changes until then. */
  #refresh(): void {
    if (this.#isStale) return;
    this.#isStale = true;
    requestAnimationFrame(() => {
      this.#isStale = false;
      this.#paint();
    });
  }

  #down(event: PointerEvent): void {
    const place = this.#placeAt(event);
    if (place === null || event.button !== 0) return;
    if (this.#actions.draw) {
      this.canvas.setPointerCapture(event.pointerId);
      this.#start = place;
    }
    this.#actions.point(place);
    this.#actions.draw?.(place, place);
  }

  #move(event: PointerEvent): void {
    const place = this.#placeAt(event);
    if (place === null || place === this.#cursor) return;
    this.#actions.point(place);
    if (this.#start !== null) this.#actions.draw?.(place, this.#start);
  }

  #up(): void {
    if (this.#start !== null) this.#actions.drawn?.(this.#cursor, this.#start);
    this.#start = null;
  }

  #key(event: KeyboardEvent): void {
    if (!this.#view || event.ctrlKey || event.metaKey || event.altKey) return;
    const [rows, columns] = this.#view.grid, at = Math.max(0, this.#cursor);
    const row = Math.floor(at / columns), column = at % columns;
    const moved: Readonly<Record<string, number>> = {
      ArrowLeft: row * columns + Math.max(0, column - 1),
      ArrowRight: row * columns + Math.min(columns - 1, column + 1),
      ArrowUp: Math.max(0, row - 1) * columns + column,
      ArrowDown: Math.min(rows - 1, row + 1) * columns + column,
      Home: row * columns,
      End: row * columns + columns - 1,
    };
    if (Object.hasOwn(moved, event.key)) this.#actions.point(moved[event.key]);
    else if ((event.key === " " || event.key === "Enter") && this.#actions.draw) {
      this.#actions.point(at);
      this.#actions.draw(at, at);
      this.#actions.drawn?.(at, at);
    } else if (!this.#actions.press?.(event)) return;
    event.preventDefault();
  }

  /** The tile below the pointer; the nearest one if it is beside the grid. */
  #placeAt({ clientX, clientY }: PointerEvent): number | null {
    if (!this.#view) return null;
    const { left, top, width, height } = this.canvas.getBoundingClientRect();
    const [rows, columns] = this.#view.grid;
    const index = (at: number, length: number, count: number) =>
      Math.max(0, Math.min(count - 1, Math.floor(at / length * count)));
    return index(clientY - top, height, rows) * columns + index(clientX - left, width, columns);
  }

  #paint(): void {
    const scale = devicePixelRatio, side = Math.round(this.canvas.clientWidth * scale);
    if (side === 0) return;
    const view = this.#view, [rows, columns] = view?.grid ?? [1, 1];
    const height = Math.round(side * rows / columns);
    if (this.canvas.width !== side || this.canvas.height !== height) {
      Object.assign(this.canvas, { width: side, height });
    }
    const g = pen(this.canvas), cell = side / columns;
    g.clearRect(0, 0, side, height);
    if (!view) return;
    const edge = (tile: number) => Math.round(tile * cell);
    g.font = `${Math.round(cell * 0.34)}px ui-monospace, monospace`;
    g.textAlign = "center";
    g.textBaseline = "middle";
    g.imageSmoothingQuality = "high";
    if (view.picture) g.drawImage(this.#buffer, 0, 0, side, height);
    const hasRoom = cell / scale >= 22 && !view.picture;
    for (let row = 0, place = 0; row < rows; row++) {
      for (let column = 0; column < columns; column++, place++) {
        const left = edge(column), top = edge(row), right = edge(column + 1);
        if (view.picture) {
          g.strokeStyle = "#fff3";
          g.lineWidth = 1;
          g.strokeRect(left - 0.5, top - 0.5, right - left, edge(row + 1) - top);
        } else {
          const color = view.color(place);
          g.fillStyle = css(color);
          g.fillRect(left, top, right - left, edge(row + 1) - top);
          g.fillStyle = color[0] * 0.3 + color[1] * 0.59 + color[2] * 0.11 > 140 ? "#000c" : "#fffd";
          if (hasRoom && view.text) {
            g.fillText(view.text(place), left + cell / 2, top + cell / 2 + scale / 2, cell - 2);
          }
        }
        if (view.isMarked?.(place)) {
          g.beginPath();
          g.moveTo(right, top);
          g.lineTo(right, top + cell * 0.32);
          g.lineTo(right - cell * 0.32, top);
          g.fillStyle = "#ffd400";
          g.fill();
        }
      }
    }
    const outline = (left: number, top: number, right: number, bottom: number, dash: number[]) => {
      for (const [color, width] of [["#000", 4], ["#fff", 2]] as const) {
        g.strokeStyle = color;
        g.lineWidth = width * scale;
        g.setLineDash(color === "#fff" ? dash : []);
        g.strokeRect(left, top, right - left, bottom - top);
      }
      g.setLineDash([]);
    };
    if (view.frame) {
      const { left, top, right, bottom } = view.frame;
      outline(edge(left), edge(top), edge(right + 1), edge(bottom + 1), [6 * scale, 4 * scale]);
    }
    if (this.#cursor >= 0) {
      const column = this.#cursor % columns, row = Math.floor(this.#cursor / columns);
      outline(edge(column), edge(row), edge(column + 1), edge(row + 1), []);
    }
  }
}
