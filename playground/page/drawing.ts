// A canvas to draw on by pointer or keys, which hands out the drawing while it changes.
/// <reference lib="dom" />
import { button, choice, html } from "./dom.ts";
import { pen } from "./canvas.ts";

/** The side of the drawing in pixels. */
const side = 256;

/** Colours for a face, and their names. */
const colors = {
  "#e8b796": "skin",
  "#8d5a3b": "brown",
  "#1d1a19": "black",
  "#ffffff": "white",
  "#b03a3a": "red",
  "#d9a441": "blond",
  "#3f6fa8": "blue",
  "#4e8c57": "green",
} as const;
const widths = { "4": "fine", "14": "broad", "40": "very broad" } as const;

/** How far an arrow key moves, in pixels. */
const stride = 8;

export class Drawing {
  /** The canvas with its tools; hidden until `start`. */
  readonly element: HTMLElement;
  readonly #change: (picture: ImageData) => void;
  readonly #canvas: HTMLCanvasElement;
  readonly #cross = html("span", { className: "cross", hidden: true });
  #color: string = Object.keys(colors)[0];
  #width = 14;
  #at: readonly [x: number, y: number] = [side / 2, side / 2];
  /** Whether arrow keys draw. */
  #isDown = false;

  /** @param change is called with the drawing after each change */
  constructor(change: (picture: ImageData) => void) {
    this.#change = change;
    this.#canvas = html("canvas", {
      width: side,
      height: side,
      className: "picture paints",
      tabIndex: 0,
      role: "application",
      "aria-label": "A drawing. Arrow keys move the pen, Space puts it down and lifts it.",
    });
    this.#canvas.onpointerdown = (event) => {
      this.#canvas.setPointerCapture(event.pointerId);
      this.#at = this.#placeOf(event);
      this.#line(this.#at);
    };
    this.#canvas.onpointermove = (event) => {
      if (event.buttons === 1) {
        for (const each of event.getCoalescedEvents()) this.#line(this.#placeOf(each));
      }
    };
    this.#canvas.onkeydown = (event) => this.#key(event);
    this.#canvas.onblur = () => this.#cross.hidden = true;
    const palette = choice("Colour", colors, "#e8b796", (color) => this.#color = color);
    palette.classList.add("palette");
    for (const input of palette.querySelectorAll("input")) {
      input.nextElementSibling!.setAttribute("style", `--swatch: ${input.value}`);
    }
    this.element = html(
      "div",
      { className: "drawing", hidden: true },
      html("div", { className: "sheet" }, this.#canvas, this.#cross),
      palette,
      choice("Width of the pen", widths, "14", (width) => this.#width = Number(width)),
      button("Empty sheet", () => this.#clear()),
    );
  }

  /** Shows the canvas, with a picture to begin with. */
  start(picture: CanvasImageSource): void {
    pen(this.#canvas).drawImage(picture, 0, 0, side, side);
    this.element.hidden = false;
    this.#canvas.focus({ preventScroll: true });
  }

  #clear(): void {
    const g = pen(this.#canvas);
    g.fillStyle = "#e9e6df";
    g.fillRect(0, 0, side, side);
    this.#tell();
  }

  #line(to: readonly [x: number, y: number]): void {
    const g = pen(this.#canvas);
    g.strokeStyle = this.#color;
    g.lineWidth = this.#width;
    g.lineCap = "round";
    g.beginPath();
    g.moveTo(...this.#at);
    g.lineTo(...to);
    g.stroke();
    this.#at = to;
    this.#tell();
  }

  #tell(): void {
    this.#change(pen(this.#canvas).getImageData(0, 0, side, side));
  }

  #placeOf({ clientX, clientY }: PointerEvent): [number, number] {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    return [(clientX - left) / width * side, (clientY - top) / height * side];
  }

  #key(event: KeyboardEvent): void {
    const moves: Readonly<Record<string, readonly [number, number]>> = {
      ArrowLeft: [-stride, 0],
      ArrowRight: [stride, 0],
      ArrowUp: [0, -stride],
      ArrowDown: [0, stride],
    };
    const [x, y] = this.#at;
    if (Object.hasOwn(moves, event.key)) {
      const [dx, dy] = moves[event.key], within = (value: number) => Math.max(0, Math.min(side, value));
      const to = [within(x + dx), within(y + dy)] as const;
      if (this.#isDown) this.#line(to);
      this.#at = to;
    } else if (event.key === " ") {
      this.#isDown = !this.#isDown;
      if (this.#isDown) this.#line(this.#at);
    } else return;
    event.preventDefault();
    this.#cross.hidden = false;
    this.#cross.classList.toggle("down", this.#isDown);
    this.#cross.style.left = `${this.#at[0] / side * 100}%`;
    this.#cross.style.top = `${this.#at[1] / side * 100}%`;
  }
}
