// @ts-check
/// <reference lib="dom" />
// Puts the page together, and keeps it up to date while a run goes on.
import { ChartView, view } from "./chart.js";
import { formatDuration, formatNumber, html } from "./dom.js";
import { Samples, Worst } from "./pictures.js";
import { groupsOf } from "./series.js";

/** @typedef {import("./series.js").Series} Series */
/** @typedef {{ name: string, activity: string, why: string | null, step: number, steps: number | null, secondsLeft: number | null, passes: number | null, time: string, metrics: Series[], sheets: import("./pictures.js").Sheet[], settings: [string, string][] }} Report */

/** Milliseconds between two questions whether there is something new. */
const pollEvery = 2000;

/** The numbers at the top: the metric, its label, how it is written, and whether more is better. */
const tiles = /** @type {[string, string, (value: number) => string, boolean | null][]} */ ([
  ["val/psnr", "PSNR, kept back", (value) => `${value.toFixed(2)} dB`, true],
  ["seen/psnr", "PSNR, training pictures", (value) => `${value.toFixed(2)} dB`, true],
  ["val/p_loss", "LPIPS, kept back", (value) => value.toFixed(4), false],
  ["val/ssim", "SSIM, kept back", (value) => value.toFixed(4), true],
  ["val/codebook_usage", "codes in use", (value) => `${(100 * value).toFixed(1)} %`, true],
  ["val/perplexity", "perplexity", formatNumber, true],
  ["lr", "learning rate", formatNumber, null],
  ["seconds_per_step", "seconds per step", formatNumber, null],
]);

const activities = /** @type {Record<string, string>} */ ({
  waiting: "not a number yet",
  training: "training",
  finished: "finished",
  stopped: "stopped",
});

class Page {
  constructor() {
    /** @type {Report | null} */
    this.report = null;
    this.status = html("span", { className: "chip", role: "status" });
    this.title = html("h1", {});
    this.bar = html("progress", { max: 1, value: 0, "aria-label": "steps done" });
    this.line = html("p", { className: "line" });
    this.tiles = html("dl", { className: "tiles" });
    this.samples = new Samples();
    this.worst = new Worst();
    const amount = html("output", {});
    const smoothing = html("input", {
      type: "range",
      min: "0",
      max: "0.98",
      step: "0.02",
      value: String(view.smoothing),
      "aria-label": "smoothing",
    });
    const show = () => {
      view.smoothing = Number(smoothing.value);
      amount.textContent = view.smoothing === 0 ? "off" : smoothing.value;
      for (const chart of view.charts) chart.draw();
    };
    smoothing.addEventListener("input", show);
    this.smoothing = html("label", { className: "slider" }, html("span", {}, "Smoothing"), smoothing, amount);
    /** @type {Map<string, { element: HTMLElement, grid: HTMLElement, note: HTMLElement }>} */
    this.groups = new Map();
    /** @type {Map<string, ChartView>} */
    this.charts = new Map();
    this.pictures = html(
      "div",
      { hidden: true },
      html("h2", {}, "The same pictures at all steps"),
      this.samples.element,
    );
    this.bad = html(
      "div",
      { hidden: true },
      html("h2", {}, "The pictures that came back worst"),
      this.worst.element,
    );
    this.curves = html("div", {});
    this.curvesHead = html(
      "div",
      { className: "row head", hidden: true },
      html("h2", {}, "Curves"),
      this.smoothing,
    );
    this.settings = html("table", {});
    this.more = html(
      "details",
      { className: "card", hidden: true },
      html("summary", {}, "Settings"),
      this.settings,
    );
    this.footer = html("footer", { className: "quiet" });
    document.getElementById("page")?.replaceChildren(
      html(
        "header",
        {},
        html("div", { className: "row" }, this.title, this.status),
        this.bar,
        this.line,
        this.tiles,
      ),
      this.pictures,
      this.bad,
      this.curvesHead,
      this.curves,
      this.more,
      this.footer,
    );
    show();
  }

  /** @param {Report} report */
  show(report) {
    this.report = report;
    this.#showHead(report);
    const samples = report.sheets.filter(({ kind }) => kind === "step"),
      worst = report.sheets.filter(({ kind }) => kind === "worst");
    this.pictures.hidden = samples.length === 0;
    this.bad.hidden = worst.length === 0;
    if (samples.length > 0) this.samples.update(samples);
    if (worst.length > 0) this.worst.update(worst);
    const groups = groupsOf(report.metrics);
    this.curvesHead.hidden = groups.length === 0;
    this.#showGroups(groups);
    this.more.hidden = report.settings.length === 0;
    this.settings.replaceChildren(
      ...report.settings.map(([name, value]) =>
        html("tr", {}, html("th", { scope: "row" }, name), html("td", {}, value))
      ),
    );
  }

  /** @param {Report} report */
  #showHead({ name, activity, why, step, steps, secondsLeft, passes, metrics, time }) {
    this.title.textContent = name;
    this.status.textContent = activities[activity] ?? activity;
    this.status.dataset.activity = activity;
    const share = steps ? Math.min(1, step / steps) : 0;
    this.bar.value = share;
    const parts = [
      `step ${step.toLocaleString("en")}${
        steps ? ` of ${steps.toLocaleString("en")} (${Math.floor(100 * share)} %)` : ""
      }`,
    ];
    if (passes !== null) parts.push(`${passes.toFixed(1)} passes over the pictures`);
    if (secondsLeft !== null && step < (steps ?? Infinity)) {
      parts.push(`about ${formatDuration(secondsLeft)} left`);
    }
    if (why !== null) parts.push(`${activities[activity]}: ${why}`);
    this.line.textContent = parts.join(" · ");
    document.title = `${steps ? `${Math.floor(100 * share)} % ` : ""}${name} · Tessera`;
    this.footer.textContent = `As of ${new Date(time).toLocaleString()}.`;
    const known = new Map(metrics.map((series) => [series.name, series.values]));
    const shown = tiles.flatMap(([metric, label, write, moreIsBetter]) => {
      const values = known.get(metric);
      if (!values || values.every((value) => value === 0)) return [];
      if (metric === "seen/psnr" && known.has("val/psnr")) return [];
      const last = values[values.length - 1], change = last - values[0];
      const tile = html("div", {}, html("dt", {}, label), html("dd", {}, write(last)));
      if (moreIsBetter !== null && values.length > 1 && Math.abs(change) >= 1e-4 * Math.abs(last)) {
        const isGood = change > 0 === moreIsBetter,
          text = `${change > 0 ? "+" : "−"}${write(Math.abs(change))}`;
        tile.append(
          html(
            "dd",
            { className: isGood ? "good" : "bad", title: "since the first measurement" },
            `${isGood ? "better" : "worse"}: ${text}`,
          ),
        );
      }
      return [tile];
    });
    this.tiles.replaceChildren(...shown);
  }

  /** @param {import("./series.js").Group[]} groups */
  #showGroups(groups) {
    for (const { title, charts, zeros } of groups) {
      let group = this.groups.get(title);
      if (!group) {
        const grid = html("div", { className: "grid" }), note = html("p", { className: "quiet" });
        group = {
          element: html("section", {}, html("h3", { className: "group" }, title), grid, note),
          grid,
          note,
        };
        this.groups.set(title, group);
      }
      group.note.textContent = zeros.length > 0 ? `always 0: ${zeros.join(", ")}` : "";
      for (const data of charts) {
        const chart = this.charts.get(data.key);
        if (chart) chart.update(data);
        else {
          const made = new ChartView(data);
          this.charts.set(data.key, made);
          group.grid.append(made.element);
        }
      }
    }
    const keys = new Set(groups.flatMap(({ charts }) => charts.map(({ key }) => key)));
    for (const [key, chart] of this.charts) {
      if (keys.has(key)) continue; // a run that was rewound may have lost a metric
      chart.element.remove();
      view.charts.delete(chart);
      this.charts.delete(key);
    }
    const elements = groups.map(({ title }) =>
      /** @type {{ element: HTMLElement }} */ (this.groups.get(title)).element
    );
    if (
      elements.some((element, i) => this.curves.children[i] !== element) ||
      this.curves.children.length !== elements.length
    ) {
      this.curves.replaceChildren(...elements);
    }
  }

  /** Shows that there is nothing new, but that time has passed. */
  tick() {
    const { report } = this;
    if (!report) return;
    const now = new Date(), passed = (now.getTime() - new Date(report.time).getTime()) / 1000;
    const secondsLeft = report.secondsLeft === null ? null : Math.max(0, report.secondsLeft - passed);
    this.#showHead({ ...report, secondsLeft, time: now.toISOString() });
  }

  /** @param {string} text */
  lose(text) {
    this.status.textContent = text;
    this.status.dataset.activity = "lost";
  }
}

const start = /** @type {{ report: Report, isLive: boolean }} */ (JSON.parse(
  document.getElementById("data")?.textContent ?? "",
));
const page = new Page();
page.show(start.report);
if (start.isLive) {
  let version = "";
  const poll = async () => {
    try {
      const answer = await fetch(`data.json?version=${version}`, { cache: "no-store" });
      if (answer.status === 204) page.tick();
      else if (!answer.ok) throw new Error(await answer.text());
      else {
        const { report, version: now } = await answer.json();
        version = now;
        page.show(report);
      }
    } catch {
      page.lose("no answer: is tessera watch still running?");
    }
    setTimeout(() => void poll(), pollEvery);
  };
  void poll();
}
