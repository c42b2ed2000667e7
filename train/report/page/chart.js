// @ts-check
/// <reference lib="dom" />
// One chart: smooth lines over faint measured values, a logarithmic axis on request, and a cursor that the pointer or the arrow
// keys move. All charts of the page have the cursor at the same step.
import { formatNumber, html, svg } from "./dom.js";
import { logTicksOf, nearest, rangeOf, smooth, ticksOf } from "./series.js";

/** @typedef {import("./series.js").Chart} ChartData */

const height = 190, top = 8, bottom = 24, right = 12;

/** What all charts share. */
export const view = {
  smoothing: 0.6,
  /** @type {number | null} */ cursor: null,
  /** @type {Set<ChartView>} */ charts: new Set(),
};

/**
 * Moves the cursor of all charts.
 * @param {number | null} step
 */
function point(step) {
  view.cursor = step;
  for (const chart of view.charts) chart.drawCursor();
}

/** Lines of fewer values than this are drawn as they are. */
const fewValues = 12;

export class ChartView {
  /** @param {ChartData} data */
  constructor(data) {
    this.data = data;
    /** @type {boolean | null} null until the user has chosen */
    this.isLog = null;
    /** @type {(import("./series.js").Line & { smooth: number[] })[]} */
    this.lines = [];
    this.title = html("h3", {});
    this.button = html("button", {
      type: "button",
      className: "small",
      textContent: "log",
      title: "logarithmic axis",
      onclick: () => {
        this.isLog = !this.usesLog;
        this.draw();
      },
    });
    this.legend = html("ul", { className: "legend" });
    this.plot = html("div", { className: "plot", tabIndex: 0, role: "img" });
    this.element = html(
      "section",
      { className: "card chart" },
      html("div", { className: "row" }, this.title, this.button),
      this.legend,
      this.plot,
    );
    this.plot.addEventListener("pointermove", (event) => this.#follow(event));
    this.plot.addEventListener("pointerleave", () => point(null));
    this.plot.addEventListener("blur", () => point(null));
    this.plot.addEventListener("keydown", (event) => this.#press(event));
    new ResizeObserver(() => this.draw()).observe(this.plot);
    view.charts.add(this);
  }

  /** @param {ChartData} data */
  update(data) {
    this.data = data;
    this.draw();
  }

  get canBeLog() {
    return this.data.lines.every(({ values }) => values.every((value) => value > 0));
  }

  /** A range of more than two powers of ten is hard to see otherwise. */
  get usesLog() {
    if (!this.canBeLog) return false;
    const all = this.data.lines.flatMap(({ values }) => values);
    return this.isLog ?? Math.max(...all) > 100 * Math.min(...all);
  }

  draw() {
    const { title, lines } = this.data, width = this.plot.clientWidth;
    this.title.textContent = title;
    this.button.hidden = !this.canBeLog;
    this.button.setAttribute("aria-pressed", String(this.usesLog));
    this.button.setAttribute("aria-label", `logarithmic axis: ${title}`);
    const keep = view.smoothing;
    this.lines = lines.map((line) => ({
      ...line,
      smooth: !line.isNoisy || line.values.length < fewValues || keep === 0
        ? line.values
        : smooth(line.values, keep),
    }));
    this.plot.setAttribute("aria-label", `${title}. ${this.#inWords()} Arrow keys move the cursor.`);
    if (width > 0) this.#drawPlot(width);
    this.drawCursor();
  }

  #inWords() {
    return this.lines.map(({ label, values, steps, smooth }) =>
      `${label}: from ${formatNumber(smooth[0])} at step ${steps[0]} to ${
        formatNumber(smooth[values.length - 1])
      } at step ${steps[values.length - 1]}.`
    ).join(" ");
  }

  /** @param {number} width */
  #drawPlot(width) {
    const lines = this.lines, isLog = this.usesLog;
    const [low, high] = rangeOf(
      lines.flatMap(({ values }) => values),
      lines.map(({ smooth }) => smooth),
      isLog,
    );
    const ticks = isLog ? logTicksOf(low, high) : ticksOf(low, high, 4);
    const first = Math.min(...lines.map(({ steps }) => steps[0])),
      last = Math.max(...lines.map(({ steps }) => /** @type {number} */ (steps.at(-1))));
    const [begin, end] = first === last ? [first - 1, last + 1] : [first, last];
    const labels = ticks.map(formatNumber),
      left = 12 + 6.5 * Math.max(...labels.map(({ length }) => length), 2);
    const scale = isLog ? Math.log : (/** @type {number} */ value) => value;
    const x = (/** @type {number} */ step) => left + (step - begin) / (end - begin) * (width - left - right);
    const y = (/** @type {number} */ value) =>
      height - bottom - (scale(value) - scale(low)) / (scale(high) - scale(low)) * (height - top - bottom);
    this.place = { x, begin, end, left, width };
    const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, width, height, "aria-hidden": "true" });
    ticks.forEach((tick, i) => {
      picture.append(
        svg("path", { class: "grid", d: `M${left} ${y(tick)}H${width - right}` }),
        svg("text", { x: left - 6, y: y(tick) + 4, "text-anchor": "end" }, labels[i]),
      );
    });
    for (
      const tick of ticksOf(begin, end, Math.max(2, width / 90)).filter((tick) =>
        Number.isInteger(tick) && tick >= 0
      )
    ) {
      const anchor = x(tick) > width - 26 ? "end" : "middle";
      picture.append(
        svg(
          "text",
          { x: anchor === "end" ? width - 2 : x(tick), y: height - 7, "text-anchor": anchor },
          tick.toLocaleString("en"),
        ),
      );
    }
    const id = `clip-${this.data.key.replace(/\W/g, "_")}`;
    picture.append(
      svg(
        "clipPath",
        { id },
        svg("rect", { x: left, y: 0, width: width - left - right + 4, height: height - bottom + 2 }),
      ),
    );
    const group = svg("g", { "clip-path": `url(#${id})` });
    for (const { color, steps, values, smooth } of lines) {
      const name = `line c${color % 8}`;
      const path = (/** @type {readonly number[]} */ all) =>
        steps.map((step, i) => `${i === 0 ? "M" : "L"}${x(step).toFixed(1)} ${y(all[i]).toFixed(1)}`).join(
          "",
        );
      if (values.length === 1) {
        group.append(
          svg("circle", { class: `dot c${color % 8}`, cx: x(steps[0]), cy: y(values[0]), r: 3.5 }),
        );
      } else if (smooth !== values) group.append(svg("path", { class: `${name} faint`, d: path(values) }));
      if (values.length > 1) group.append(svg("path", { class: name, d: path(smooth) }));
    }
    this.marker = svg("path", { class: "cursor" });
    picture.append(group, this.marker);
    this.plot.replaceChildren(picture);
  }

  /** Shows the values at the cursor in the legend, or the last ones. */
  drawCursor() {
    const { cursor } = view, { place } = this;
    const isInside = cursor !== null && place !== undefined && cursor >= place.begin && cursor <= place.end;
    this.marker?.setAttribute("d", isInside ? `M${place.x(cursor)} ${top}V${height - bottom}` : "");
    const entries = this.lines.map(({ label, color, steps, smooth }) => {
      const at = isInside ? nearest(steps, cursor) : steps.length - 1;
      const value = html("b", {}, formatNumber(smooth[at]));
      return html("li", {}, html("i", { className: `c${color % 8}` }), `${label} `, value);
    });
    if (isInside) {
      entries.push(html("li", { className: "quiet" }, `step ${Math.round(cursor).toLocaleString("en")}`));
    }
    this.legend.replaceChildren(...entries);
  }

  /** @param {PointerEvent} event */
  #follow(event) {
    if (!this.place) return;
    const { begin, end, left, width } = this.place;
    const share = (event.clientX - this.plot.getBoundingClientRect().left - left) / (width - left - right);
    point(this.#snapped(begin + Math.min(1, Math.max(0, share)) * (end - begin)));
  }

  /**
   * The step of this chart that is nearest.
   * @param {number} step
   */
  #snapped(step) {
    const steps = this.#steps();
    return steps[nearest(steps, step)];
  }

  #steps() {
    return [...new Set(this.lines.flatMap(({ steps }) => steps))].sort((a, b) => a - b);
  }

  /** @param {KeyboardEvent} event */
  #press(event) {
    const steps = this.#steps(), at = view.cursor === null ? steps.length - 1 : nearest(steps, view.cursor);
    const to = {
      ArrowLeft: at - 1,
      ArrowRight: at + 1,
      Home: 0,
      End: steps.length - 1,
      PageUp: at - 10,
      PageDown: at + 10,
    }[event.key];
    if (event.key === "Escape") point(null);
    if (to === undefined) return;
    event.preventDefault();
    point(steps[Math.min(steps.length - 1, Math.max(0, to))]);
  }
}
