// The tokens as a table of text, for screen readers and for copying. It is built when it is opened.
/// <reference lib="dom" />
import { html } from "./dom.ts";

export class TokenTable {
  readonly element: HTMLDetailsElement;
  readonly #place = html("div", {
    className: "scrolls",
    tabIndex: 0,
    role: "region",
    "aria-label": "table of tokens",
  });
  #tokens: Int32Array = new Int32Array(0);
  #columns = 1;

  constructor(summary: string) {
    this.element = html("details", { className: "table" }, html("summary", {}, summary), this.#place);
    this.element.addEventListener("toggle", () => this.#build());
  }

  show(tokens: Int32Array, columns: number): void {
    this.#tokens = tokens;
    this.#columns = columns;
    this.#build();
  }

  #build(): void {
    if (!this.element.open) return;
    const cells = this.#place.querySelectorAll("tbody td");
    if (
      cells.length === this.#tokens.length &&
      this.#place.querySelectorAll("thead th").length === this.#columns
    ) {
      cells.forEach((cell, at) => {
        const text = String(this.#tokens[at]);
        if (cell.textContent !== text) cell.textContent = text;
      });
      return;
    }
    const columns = Array.from({ length: this.#columns }, (_, i) => i);
    const rows = Array.from({ length: this.#tokens.length / this.#columns }, (_, i) => i);
    this.#place.replaceChildren(html(
      "table",
      {},
      html("caption", {}, `${this.#tokens.length} tokens, row by row`),
      html(
        "thead",
        {},
        html(
          "tr",
          {},
          html("td"),
          ...columns.map((column) => html("th", { scope: "col" }, String(column + 1))),
        ),
      ),
      html(
        "tbody",
        {},
        ...rows.map((row) =>
          html(
            "tr",
            {},
            html("th", { scope: "row" }, String(row + 1)),
            ...columns.map((column) => html("td", {}, String(this.#tokens[row * this.#columns + column]))),
          )
        ),
      ),
    ));
  }
}
