// Shows how the time of one training step is divided among kernels, and how close each kernel is to the limits of the machine
// (Williams, Waterman & Patterson 2009):
//   deno run -A bench/roofline.ts roofline.png        or: bun bench/roofline.ts roofline.png
//   options: --job step  --size 256  --batch 1  --threads 2
import { spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { savePng } from "../data/index.ts";
import { renderSvg, type TextPen, textPen } from "../data/figures/svg.ts";
import { matmul, noGrad, Random, scope } from "../src/index.ts";
import { load, table } from "./children.ts";

const { positionals: [path = "roofline.png"], values: options } = parseArgs({
  allowPositionals: true,
  options: {
    job: { type: "string", default: "step" },
    size: { type: "string", default: "256" },
    batch: { type: "string", default: "1" },
    threads: { type: "string", default: "2" },
  },
});
process.env.TESSERA_THREADS = options.threads; // read when the first tensor is made

/** All calls of one kernel. */
interface Row {
  readonly kernel: string;
  calls: number;
  ms: number;
  gflop: number;
  gbytes: number;
}

/** Runs the job twice in a process of its own, and reads what DEBUG=2 prints in the second run. */
function profile(): Row[] {
  const job = fileURLToPath(new URL("job.ts", import.meta.url));
  const common = (["size", "batch", "threads"] as const).flatMap((name) => [`--${name}`, options[name]]);
  const flags = process.versions.bun ? [] : ["run", "-A", "--no-check"];
  const args = [...flags, job, options.job, ...common, "--warmup", "1", "--repeat", "1"];
  const { status, stderr } = spawnSync(process.execPath, args, {
    encoding: "utf8",
    env: { ...process.env, DEBUG: "2" },
    maxBuffer: 2 ** 28,
  });
  const lines = stderr.slice(stderr.lastIndexOf("\nrun ")).split("\n").filter((line) =>
    line.startsWith("cpu ")
  );
  if (status !== 0 || lines.length === 0) {
    throw new Error(`${job} ended with ${status}:\n${stderr.slice(-2000)}`);
  }
  const rows = new Map<string, Row>();
  for (const line of lines) {
    const [, kernel, , ms, gflops, gbs] = line.match(
      /^cpu (\S+) (.*) ([\d.]+) ms ([\d.]+) GFLOP\/s ([\d.]+) GB\/s$/,
    )!;
    const row = rows.get(kernel) ?? { kernel, calls: 0, ms: 0, gflop: 0, gbytes: 0 };
    rows.set(kernel, row);
    row.calls++;
    row.ms += Number(ms);
    row.gflop += Number(gflops) * Number(ms) / 1000;
    row.gbytes += Number(gbs) * Number(ms) / 1000;
  }
  return [...rows.values()].sort((a, b) => b.ms - a.ms);
}

/** The best rate of ten runs, in 1e9 per second. */
function best(amount: number, run: () => void): number {
  let seconds = Infinity;
  for (let i = 0; i < 10; i++) {
    const start = performance.now();
    noGrad(() => scope(run));
    seconds = Math.min(seconds, (performance.now() - start) / 1000);
  }
  return amount / seconds / 1e9;
}

/** The limits of this machine: the rate of a matrix product from cache, and of reading and writing memory. */
function ceilings(): { gflops: number; gbs: number } {
  return scope(() => {
    const random = new Random(0), n = 768, numbers = 2 ** 25;
    const a = random.uniform([n, n]), b = random.uniform([n, n]), x = random.uniform([numbers]);
    return { gflops: best(2 * n ** 3, () => void matmul(a, b)), gbs: best(8 * numbers, () => void x.neg()) };
  });
}

const colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"];
const colorOf = (kernel: string) =>
  colors[
    ["conv2dWeightGrad", "conv2d", "groupNorm", "sum", "adam"].findIndex((name) => kernel.startsWith(name)) +
    1
  ];

/** Draws bars: the milliseconds of each kernel. */
function drawBars(rows: readonly Row[], total: number, pen: TextPen): string {
  const left = 170, top = 70, step = 27, wide = 300;
  return rows.map(({ kernel, ms, calls }, i) => {
    const y = top + i * step, width = Math.max(1, wide * ms / rows[0].ms);
    return pen.draw(kernel, left - 8, y + 15, { anchor: "end" }) +
      `<rect x="${left}" y="${y}" width="${width}" height="19" fill="${colorOf(kernel)}"/>` +
      pen.draw(
        `${ms.toFixed(0)} ms, ${(100 * ms / total).toFixed(1)} %, ${calls}x`,
        left + width + 6,
        y + 15,
        {
          size: 11,
        },
      );
  }).join("");
}

/** Draws circles: operations per byte against operations per second, both logarithmic, under the two limits. */
function drawRoof(rows: readonly Row[], roof: { gflops: number; gbs: number }, pen: TextPen): string {
  const box = { left: 690, right: 1250, top: 70, bottom: 560 };
  const [x0, x1, y0, y1] = [0.05, 2000, 0.1, 1000].map(Math.log10);
  const x = (v: number) => box.left + (box.right - box.left) * (Math.log10(v) - x0) / (x1 - x0);
  const y = (v: number) => box.bottom - (box.bottom - box.top) * (Math.log10(v) - y0) / (y1 - y0);
  const marks: string[] = [];
  for (const tick of [0.1, 1, 10, 100, 1000]) {
    marks.push(`<path stroke="#e4e6ea" d="M${x(tick)} ${box.top}V${box.bottom}"/>`);
    marks.push(pen.draw(String(tick), x(tick), box.bottom + 18, { anchor: "middle" }));
  }
  for (const tick of [0.1, 1, 10, 100, 1000]) {
    marks.push(`<path stroke="#e4e6ea" d="M${box.left} ${y(tick)}H${box.right}"/>`);
    marks.push(pen.draw(String(tick), box.left - 6, y(tick) + 4, { anchor: "end" }));
  }
  const knee = roof.gflops / roof.gbs;
  const slope = `M${x(0.05)} ${y(0.05 * roof.gbs)}L${x(knee)} ${y(roof.gflops)}H${box.right}`;
  marks.push(`<path fill="none" stroke="#333" stroke-width="2" d="${slope}"/>`);
  marks.push(
    pen.draw(`matrix product ${roof.gflops.toFixed(0)} GFLOP/s`, box.right, y(roof.gflops) + 16, {
      anchor: "end",
    }),
  );
  marks.push(pen.draw(`memory ${roof.gbs.toFixed(0)} GB/s`, x(1), y(roof.gbs) - 6, { anchor: "end" }));
  marks.push(
    pen.draw("operations a byte", (box.left + box.right) / 2, box.bottom + 38, { anchor: "middle" }),
  );
  marks.push(pen.draw("GFLOP/s; the area of a circle is its time", box.left, box.top - 12));
  const taken: { x: number; y: number; width: number }[] = [];
  for (const { kernel, ms, gflop, gbytes } of rows) {
    if (gflop < 0.05 * gbytes) continue; // beyond the left edge of the picture
    const [cx, cy] = [x(gflop / gbytes), y(gflop / ms * 1000)], r = 3 + 32 * Math.sqrt(ms / rows[0].ms);
    marks.push(`<circle cx="${cx}" cy="${cy}" r="${r}" fill="${colorOf(kernel)}" fill-opacity="0.55"/>`);
    if (ms < rows[0].ms / 40) continue;
    // put the label at the nearest free place above or below
    const width = pen.width(kernel, 11);
    const free = (at: number) =>
      taken.every((t) => Math.abs(t.y - at) > 12 || Math.abs(t.x - cx) > (t.width + width) / 2 + 4);
    const at = [0, 14, -14, 28, -28, 42, -42, 56, -56].map((shift) => cy + 4 + shift).find(free) ?? cy;
    taken.push({ x: cx, y: at, width });
    if (at !== cy + 4) marks.push(`<path stroke="#999" d="M${cx} ${cy}V${at - 4}"/>`);
    marks.push(pen.draw(kernel, cx, at, { size: 11, anchor: "middle" }));
  }
  return marks.join("");
}

const before = load(Number(options.threads));
const roof = ceilings(), rows = profile();
const total = rows.reduce((sum, { ms }) => sum + ms, 0);
const pen = await textPen();
const title = `${options.job} of f16-16384, ${options.size}x${options.size}, batch ${options.batch}, ` +
  `${options.threads} threads: ${(total / 1000).toFixed(2)} s in kernels`;
const body = pen.draw(title, 30, 36, { size: 17, bold: true }) + drawBars(rows.slice(0, 18), total, pen) +
  drawRoof(rows, roof, pen);
await savePng(path, await renderSvg(body, 1280, 620));

console.log(
  `${title}\nmatrix product ${roof.gflops.toFixed(1)} GFLOP/s, memory ${
    roof.gbs.toFixed(1)
  } GB/s; ${before}\n`,
);
const cells = rows.slice(0, 24).map(({ kernel, calls, ms, gflop, gbytes }) => [
  kernel,
  String(calls),
  ms.toFixed(0),
  `${(100 * ms / total).toFixed(1)} %`,
  (gflop / ms * 1000).toFixed(1),
  (gbytes / ms * 1000).toFixed(1),
]);
console.log(table([["kernel", "calls", "ms", "share", "GFLOP/s", "GB/s"], ...cells]));
console.log(
  `\nFor convolutions the operations of the definition are counted; Winograd does a quarter of them.\n${path}`,
);
