// A curve of one number over the steps of a training, with its newest value in words.
/// <reference lib="dom" />
import { pen } from "./canvas.ts";
import { html } from "./dom.ts";

export class Chart {
  readonly element: HTMLElement;
  readonly #canvas: HTMLCanvasElement;
  readonly #value = html("strong", {}, "-");
  readonly #name: string;
  #values: number[] = [];

  /** @param meaning says in a few words what the number is */
  constructor(name: string, meaning: string) {
    this.#name = name;
    this.#canvas = html("canvas", { className: "chart", role: "img", "aria-label": this.#words() });
    this.element = html(
      "figure",
      {},
      html("figcaption", {}, html("b", {}, name), " ", this.#value, html("br"), meaning),
      this.#canvas,
    );
    new ResizeObserver(() => this.#paint()).observe(this.#canvas);
  }

  /** Begins anew. */
  clear(): void {
    this.#values = [];
    this.#paint();
  }

  add(value: number): void {
    this.#values.push(value);
    this.#paint();
  }

  /** The curve for those who do not see it. */
  #words(): string {
    const values = this.#values, last = values.at(-1);
    if (last === undefined) return `${this.#name}: no steps yet`;
    return `${this.#name}: ${values[0].toFixed(4)} at first, ${last.toFixed(4)} after ${values.length} steps`;
  }

  #paint(): void {
    const scale = devicePixelRatio, values = this.#values;
    const width = Math.round(this.#canvas.clientWidth * scale),
      height = Math.round(this.#canvas.clientHeight * scale);
    if (width === 0 || height === 0) return;
    Object.assign(this.#canvas, { width, height });
    const last = values.at(-1);
    this.#value.textContent = last === undefined ? "-" : last.toFixed(4);
    this.#canvas.setAttribute("aria-label", this.#words());
    if (last === undefined) return;
    const g = pen(this.#canvas), style = getComputedStyle(this.#canvas);
    const most = Math.max(...values), least = Math.min(...values), range = most - least || 1;
    const inset = 4 * scale;
    const x = (i: number) => inset + (width - 2 * inset) * (values.length < 2 ? 0 : i / (values.length - 1));
    const y = (value: number) => height - inset - (height - 2 * inset) * (value - least) / range;
    const line = (points: readonly number[], color: string, thickness: number) => {
      g.strokeStyle = color;
      g.lineWidth = thickness * scale;
      g.beginPath();
      points.forEach((value, i) => g.lineTo(x(i), y(value)));
      g.stroke();
    };
    line(values, style.getPropertyValue("--line"), 1.5);
    // single steps show single pictures; the mean of eight shows where it goes
    const means = values.map((_, i) => {
      const near = values.slice(Math.max(0, i - 7), i + 1);
      return near.reduce((sum, value) => sum + value, 0) / near.length;
    });
    line(means, style.getPropertyValue("--accent"), 2);
    g.fillStyle = style.getPropertyValue("--accent");
    g.beginPath();
    g.arc(x(values.length - 1), y(means.at(-1)!), 3 * scale, 0, 7);
    g.fill();
  }
}
