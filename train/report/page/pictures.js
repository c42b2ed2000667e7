// @ts-check
/// <reference lib="dom" />
// The pictures of a run: the same ones at all steps, with a slider over the steps and one between before and after, and those that
// came back worst.
import { formatNumber, html, nameOf } from "./dom.js";

/** @typedef {{ kind: string, step: number, src: string, width: number, height: number, columns: number, entries: { path: string, psnr: number | null }[] | null }} Sheet */

/** The pixels between the pictures of a sheet. */
const padding = 4;

/** @type {Map<string, Promise<HTMLImageElement>>} */
const images = new Map();

/**
 * Loads the image of a sheet once.
 * @param {string} src
 */
function imageOf(src) {
  let found = images.get(src);
  if (!found) {
    const image = new Image();
    image.src = src;
    found = image.decode().then(() => image);
    images.set(src, found);
    if (images.size > 60) images.delete(/** @type {string} */ (images.keys().next().value));
  }
  return found;
}

/**
 * Draws one picture of a sheet.
 * @param {HTMLCanvasElement} canvas
 * @param {Sheet} sheet
 * @param {number} column
 * @param {0 | 1} row 0 for the original, 1 for the reconstruction
 */
async function drawCell(canvas, sheet, column, row) {
  const key = `${sheet.src.length} ${sheet.src.slice(0, 80)} ${sheet.step} ${column} ${row}`;
  if (canvas.dataset.shows === key) return;
  canvas.dataset.shows = key;
  const image = await imageOf(sheet.src).catch(() => null);
  if (!image || canvas.dataset.shows !== key) return;
  const scale = image.naturalWidth / sheet.width, side = ((sheet.height - padding) / 2 - padding) * scale;
  const left = padding * scale + column * (side + padding * scale),
    top = padding * scale + row * (side + padding * scale);
  const pixels = Math.max(1, Math.round(side));
  if (canvas.width !== pixels) canvas.width = canvas.height = pixels;
  canvas.getContext("2d")?.drawImage(image, left, top, side, side, 0, 0, pixels, pixels);
}

/**
 * A slider with a label that says where it is.
 * @param {string} label
 * @param {() => void} oninput
 */
function slider(label, oninput) {
  const output = html("output", {}),
    input = html("input", { type: "range", min: "0", oninput, "aria-label": label });
  return {
    input,
    output,
    element: html("label", { className: "slider" }, html("span", {}, label), input, output),
  };
}

/**
 * Which step a slider over sheets shows: the last one, until the user has chosen another.
 * @param {ReturnType<typeof slider>} steps
 * @param {Sheet[]} before
 * @param {Sheet[]} sheets
 */
function follow(steps, before, sheets) {
  const shown = before[Number(steps.input.value)]?.step,
    isLast = before.length === 0 || Number(steps.input.value) === before.length - 1;
  steps.input.max = String(sheets.length - 1);
  const same = sheets.findIndex(({ step }) => step === shown);
  steps.input.value = String(isLast || same < 0 ? sheets.length - 1 : same);
  steps.element.hidden = sheets.length < 2;
}

/** The samples: one large, with a slider between two versions of it, and all of them small. */
export class Samples {
  constructor() {
    /** @type {Sheet[]} */
    this.sheets = [];
    this.column = 0;
    this.steps = slider("Step", () => this.draw());
    this.from = html(
      "select",
      { onchange: () => this.draw(), "aria-label": "compare with" },
      html("option", { value: "original" }, "original"),
      html("option", { value: "first" }, "first step"),
    );
    this.play = html("button", {
      type: "button",
      textContent: "▶",
      "aria-label": "play all steps",
      onclick: () => this.#toggle(),
    });
    this.left = html("canvas", {});
    this.right = html("canvas", {});
    this.cut = html("input", {
      type: "range",
      min: "0",
      max: "100",
      value: "50",
      step: "1",
      "aria-label": "boundary between before and after",
      oninput: () => this.#cut(),
    });
    this.leftName = html("span", { className: "tag left" });
    this.rightName = html("span", { className: "tag right" });
    this.frame = html(
      "div",
      { className: "compare" },
      this.right,
      this.left,
      html("div", { className: "bar" }),
      this.leftName,
      this.rightName,
      this.cut,
    );
    this.name = html("p", { className: "quiet name" });
    this.strip = html("div", { className: "strip", role: "group", "aria-label": "pictures" });
    const controls = html(
      "div",
      { className: "controls" },
      this.steps.element,
      this.play,
      html("label", {}, html("span", {}, "Left"), this.from),
    );
    this.element = html(
      "section",
      { className: "card pictures" },
      controls,
      html("div", { className: "viewer" }, html("div", {}, this.frame, this.name), this.strip),
    );
    this.#cut();
  }

  /** @param {Sheet[]} sheets */
  update(sheets) {
    follow(this.steps, this.sheets, sheets);
    this.sheets = sheets;
    this.play.hidden = sheets.length < 2;
    this.draw();
  }

  #cut() {
    this.frame.style.setProperty("--cut", `${this.cut.value}%`);
  }

  #toggle() {
    const stop = () => {
      clearInterval(this.timer);
      this.timer = undefined;
      this.play.textContent = "▶";
    };
    if (this.timer !== undefined) return stop();
    if (Number(this.steps.input.value) === this.sheets.length - 1) this.steps.input.value = "-1";
    this.play.textContent = "❚❚";
    this.timer = setInterval(() => {
      this.steps.input.value = String(Number(this.steps.input.value) + 1);
      this.draw();
      if (Number(this.steps.input.value) >= this.sheets.length - 1) stop();
    }, 600);
  }

  draw() {
    const sheet = this.sheets[Number(this.steps.input.value)], [first] = this.sheets;
    if (!sheet) return;
    this.column = Math.min(this.column, sheet.columns - 1);
    const path = sheet.entries?.[this.column]?.path;
    // a picture that could not be read is missing in some sheets
    const same = path === undefined ? -1 : (first.entries ?? []).findIndex((entry) => entry.path === path);
    const isFirst = this.from.value === "first";
    this.steps.output.textContent = sheet.step.toLocaleString("en");
    if (isFirst) {
      void drawCell(this.left, first, same < 0 ? Math.min(this.column, first.columns - 1) : same, 1);
    } else void drawCell(this.left, sheet, this.column, 0);
    void drawCell(this.right, sheet, this.column, 1);
    this.leftName.textContent = isFirst ? `step ${first.step.toLocaleString("en")}` : "original";
    this.rightName.textContent = `step ${sheet.step.toLocaleString("en")}`;
    const name = path === undefined ? `picture ${this.column + 1}` : nameOf(path);
    const psnr = sheet.entries?.[this.column]?.psnr;
    this.name.textContent = name + (typeof psnr === "number" ? `, ${psnr.toFixed(2)} dB` : "");
    this.name.title = path ?? "";
    while (this.strip.children.length > sheet.columns) this.strip.lastChild?.remove();
    for (let i = 0; i < sheet.columns; i++) {
      const button = this.strip.children[i] ?? this.strip.appendChild(this.#thumbnail(i));
      const title = sheet.entries ? nameOf(sheet.entries[i].path) : `picture ${i + 1}`;
      button.setAttribute("aria-pressed", String(i === this.column));
      button.setAttribute("aria-label", title);
      button.setAttribute("title", title);
      const [original, made] = button.querySelectorAll("canvas");
      void drawCell(original, sheet, i, 0);
      void drawCell(made, sheet, i, 1);
    }
  }

  /** @param {number} column */
  #thumbnail(column) {
    const choose = () => {
      this.column = column;
      this.draw();
    };
    return html("button", { type: "button", onclick: choose }, html("canvas", {}), html("canvas", {}));
  }
}

/** The pictures that came back worst, at any measurement. */
export class Worst {
  constructor() {
    /** @type {Sheet[]} */
    this.sheets = [];
    this.steps = slider("Measured at step", () => this.draw());
    this.list = html("div", { className: "worst" });
    this.element = html(
      "section",
      { className: "card" },
      html("div", { className: "controls" }, this.steps.element),
      this.list,
    );
  }

  /** @param {Sheet[]} sheets */
  update(sheets) {
    follow(this.steps, this.sheets, sheets);
    this.sheets = sheets;
    this.draw();
  }

  draw() {
    const sheet = this.sheets[Number(this.steps.input.value)];
    if (!sheet) return;
    this.steps.output.textContent = sheet.step.toLocaleString("en");
    while (this.list.children.length > sheet.columns) this.list.lastChild?.remove();
    for (let i = 0; i < sheet.columns; i++) {
      const figure = this.list.children[i] ??
        this.list.appendChild(
          html("figure", {}, html("canvas", {}), html("canvas", {}), html("figcaption", {})),
        );
      const [original, made] = figure.querySelectorAll("canvas"), entry = sheet.entries?.[i];
      void drawCell(original, sheet, i, 0);
      void drawCell(made, sheet, i, 1);
      const caption = /** @type {HTMLElement} */ (figure.lastElementChild), psnr = entry?.psnr;
      caption.replaceChildren(
        html("b", {}, typeof psnr === "number" ? `${formatNumber(psnr)} dB` : ""),
        ` ${entry ? nameOf(entry.path) : ""}`,
      );
      caption.title = entry?.path ?? "";
    }
  }
}
