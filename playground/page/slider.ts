// A slider with its name and its value in words.
/// <reference lib="dom" />
import { html } from "./dom.ts";

/** What a slider chooses from. */
export interface SliderOptions {
  readonly min: number;
  readonly max: number;
  readonly step: number;
  readonly value: number;
  /** The value in words; by default the number. */
  readonly text?: (value: number) => string;
}

export class Slider {
  readonly element: HTMLLabelElement;
  readonly #input: HTMLInputElement;
  readonly #output = html("span", { className: "value" }); // an <output> would take the label for itself
  readonly #text: (value: number) => string;

  constructor(
    name: string,
    { min, max, step, value, text = String }: SliderOptions,
    onchange: (value: number) => void,
  ) {
    this.#text = text;
    this.#input = html("input", { type: "range", min, max, step, value });
    this.#input.oninput = () => {
      this.#say();
      onchange(this.value);
    };
    this.element = html("label", { className: "dial" }, html("span", {}, name), this.#output, this.#input);
    this.#say();
  }

  get value(): number {
    return Number(this.#input.value);
  }

  set isDisabled(isDisabled: boolean) {
    this.#input.disabled = isDisabled;
  }

  #say(): void {
    this.#output.textContent = this.#text(this.value);
    this.#input.setAttribute("aria-valuetext", this.#output.textContent);
  }
}
