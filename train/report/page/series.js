// @ts-check
// Puts the metrics of a run into charts and groups, and computes what a chart draws: smooth lines and ticks. It touches no page.

/** @typedef {{ name: string, steps: number[], values: number[] }} Series */
/** @typedef {{ label: string, color: number, isNoisy: boolean, steps: number[], values: number[] }} Line */
/** @typedef {{ key: string, title: string, lines: Line[] }} Chart */
/** @typedef {{ title: string, charts: Chart[], zeros: string[] }} Group */

/** What is shown elsewhere on the page, or is no curve. */
const hidden = /^(?:epoch|passes|seconds_left|(?:val|seen)\/pictures|(?:train|val)\/codebook_tokens)$/;

/** The groups, each with the names that belong to it. The first that fits counts; what none knows is in the last one. */
const groups = /** @type {const} */ ([
  ["Quality", /psnr|ssim|lpips|p_loss|identity|frechet|fid/],
  ["Codebook", /quant|code|perplexity|usage|commit|entropy/],
  ["Discriminator", /disc|logit|d_weight|d_ratio|g_loss|gan|lecam/],
  ["Loss", /rec_loss|nll_loss|total_loss|l1|l2/],
  ["Learning rate and speed", /^lr|learning_rate|grad|seconds|loss_scale|ema/],
  ["Other metrics", /(?:)/],
]);

/** The order in which the groups are shown. */
const order = ["Quality", "Loss", "Codebook", "Discriminator", "Learning rate and speed", "Other metrics"];

/** Titles of the metrics that every run has. */
const titles = /** @type {Record<string, string>} */ ({
  rec_loss: "Reconstruction loss (L1 and LPIPS)",
  p_loss: "LPIPS: perceptual distance",
  psnr: "PSNR in dB, higher is better",
  ssim: "SSIM, higher is better",
  nll_loss: "Likelihood loss",
  total_loss: "Total loss",
  quant_loss: "Quantizer loss",
  codebook_usage: "Share of the codes in use",
  perplexity: "Perplexity: codes in use, in effect",
  codes_restarted: "Codes moved because nothing used them",
  disc_loss: "Discriminator loss (1 is no better than chance)",
  logits: "Discriminator's logits for real and made pictures",
  logit_gap: "Gap between the two logits",
  disc_acc: "Share that the discriminator gets right (0.5 is chance)",
  d_ratio: "Gradient of the reconstruction by that of the GAN",
  lecam_loss: "LeCam's loss",
  identity_loss: "Distance of faces, as the face network sees them",
  grad_norm: "Norm of the gradients",
  disc_grad_norm: "Norm of the discriminator's gradients",
  disc_factor: "GAN factor (0: not yet)",
  d_weight: "Adaptive weight of the GAN loss",
  g_loss: "Generator's GAN loss",
  lr: "Learning rate",
  seconds_per_step: "Seconds per step",
});

/** Metrics that share a chart, and what tells them apart there. */
const shared = /** @type {Record<string, [chart: string, label: string]>} */ ({
  logits_real: ["logits", "real"],
  logits_fake: ["logits", "made"],
  disc_acc_real: ["disc_acc", "real"],
  disc_acc_fake: ["disc_acc", "made"],
});

/** The colours of what a metric was measured on. Others get the colours after these. */
const colors = /** @type {Record<string, number>} */ ({ train: 0, val: 1, seen: 2 });

/** What is chosen and not measured, so that there is nothing to smooth. */
const chosen = /^lr|^disc_factor$/;

/** What the prefixes mean. */
const places = /** @type {Record<string, string>} */ ({
  train: "training step",
  val: "kept back",
  seen: "training pictures",
});

/**
 * @param {readonly Series[]} metrics
 * @returns {Group[]} the groups that have something to show
 */
export function groupsOf(metrics) {
  const made = new Map(
    order.map((title) => [title, /** @type {Group} */ ({ title, charts: [], zeros: [] })]),
  );
  const charts = /** @type {Map<string, Chart>} */ (new Map());
  for (const { name, steps, values } of metrics) {
    if (hidden.test(name)) continue;
    const at = name.indexOf("/"), place = at < 0 ? "" : name.slice(0, at), base = name.slice(at + 1);
    const title = groups.find(([, names]) => names.test(base))?.[0] ?? "Other metrics";
    const group = /** @type {Group} */ (made.get(title));
    if (values.length > 1 && values.every((value) => value === 0)) {
      group.zeros.push(name);
      continue;
    }
    const [key, part] = shared[base] ?? [base, ""];
    let chart = charts.get(key);
    if (!chart) {
      chart = { key, title: titles[key] ?? key.replaceAll("_", " "), lines: [] };
      charts.set(key, chart);
      group.charts.push(chart);
    }
    const label = [part, places[place] ?? place].filter((word) => word !== "").join(", ") || base;
    const wanted = part === "" ? colors[place] ?? chart.lines.length : chart.lines.length;
    const taken = chart.lines.map(({ color }) => color);
    // measurements are averages over many pictures
    const isNoisy = (place === "train" || place === "") && !chosen.test(base);
    const color = taken.includes(wanted) ? Math.max(...taken) + 1 : wanted;
    chart.lines.push({ label, color, isNoisy, steps, values });
  }
  return [...made.values()].filter(({ charts, zeros }) => charts.length + zeros.length > 0);
}

/**
 * A moving average in both directions, which does not lag: s_t = sum_i b^|t-i| v_i / sum_i b^|t-i|.
 * @param {readonly number[]} values
 * @param {number} keep b, from 0 (no smoothing) to below 1
 * @returns {number[]}
 */
export function smooth(values, keep) {
  const sums = new Float64Array(values.length), weights = new Float64Array(values.length);
  for (const isForward of [true, false]) {
    let sum = 0, weight = 0;
    for (let i = 0; i < values.length; i++) {
      const at = isForward ? i : values.length - 1 - i;
      sums[at] += keep * sum + (isForward ? values[at] : 0);
      weights[at] += keep * weight + (isForward ? 1 : 0);
      sum = keep * sum + values[at];
      weight = keep * weight + 1;
    }
  }
  return values.map((_, i) => sums[i] / weights[i]);
}

/**
 * Round numbers in a range, about `count` of them: 1, 2 or 5 times a power of ten.
 * @param {number} low
 * @param {number} high
 * @param {number} count
 */
export function ticksOf(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough));
  const stride = power * (rough / power > 5 ? 10 : rough / power > 2 ? 5 : rough / power > 1 ? 2 : 1);
  const ticks = [];
  for (let i = Math.ceil(low / stride - 1e-9); i <= Math.floor(high / stride + 1e-9); i++) {
    ticks.push(Number((i * stride).toPrecision(12)));
  }
  return ticks;
}

/**
 * Ticks of a logarithmic axis.
 * @param {number} low
 * @param {number} high
 */
export function logTicksOf(low, high) {
  const decades = Math.log10(high / low);
  if (decades < 0.6) return ticksOf(low, high, 4);
  const factors = decades > 3 ? [1] : decades > 1.2 ? [1, 3] : [1, 2, 5], ticks = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power++) {
    for (const factor of factors) ticks.push(Number((factor * 10 ** power).toPrecision(12)));
  }
  const inside = ticks.filter((tick) => tick >= low && tick <= high);
  return inside.length > 7 ? inside.filter((_, i) => i % Math.ceil(inside.length / 7) === 0) : inside;
}

/**
 * The range of the values that a chart shows: all smooth lines, and the measured values but for the most extreme hundredth.
 * @param {readonly number[]} measured
 * @param {readonly (readonly number[])[]} smooths
 * @param {boolean} isLog
 * @returns {[low: number, high: number]}
 */
export function rangeOf(measured, smooths, isLog) {
  const sorted = [...measured].sort((a, b) => a - b),
    at = (/** @type {number} */ share) => sorted[Math.round(share * (sorted.length - 1))];
  let low = at(0.01), high = at(0.99);
  for (const line of smooths) {
    for (const value of line) {
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  if (isLog) {
    const room = Math.max((high / low) ** 0.06, 1.02);
    return [low / room, high * room];
  }
  const room = high > low
    ? Math.max(0.06 * (high - low), 0.01 * Math.max(Math.abs(low), Math.abs(high)))
    : Math.max(Math.abs(high) * 0.1, 1e-9);
  return [low >= 0 && low < room ? 0 : low - room, high + room];
}

/**
 * The place of the value whose step is nearest.
 * @param {readonly number[]} steps ascending
 * @param {number} step
 */
export function nearest(steps, step) {
  let best = 0;
  for (let i = 1; i < steps.length; i++) {
    if (Math.abs(steps[i] - step) <= Math.abs(steps[best] - step)) best = i;
  }
  return best;
}
