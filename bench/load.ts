// Measures the time and the memory that loading a checkpoint takes:
//   venv/bin/python bench/make_checkpoint.py last.ckpt && deno run -A bench/load.ts last.ckpt [--with-loss]
// It prints one JSON line. `overhead` is the growth of the process's peak memory divided by the bytes of the loaded tensors.
// With a file by make_checkpoint.py, the model must return the golden tokens of tests/fixtures/full_f16_16384.json.
import process from "node:process";
import { parseArgs } from "node:util";
import "../data/files/open.ts"; // so that VQGAN.load takes a path
import { VQGAN } from "../nn/index.ts";
import { memory, zeros } from "../src/index.ts";
import { golden } from "../tests/support/goldens.ts";
import { peakBytes } from "./children.ts";
import { drawnPicture } from "./fill.ts";

const { positionals: [path], values: { "with-loss": withLoss } } = parseArgs({
  allowPositionals: true,
  options: { "with-loss": { type: "boolean", default: false } },
});
if (!path) throw new Error("give the path of a checkpoint");
zeros([1]).dispose(); // starts the backend, which is not part of loading
const before = peakBytes(), start = performance.now();
const model = await VQGAN.load(path, { withLoss });
const seconds = Math.round(performance.now() - start) / 1000, after = peakBytes();
const tensorBytes = memory().liveBytes;

const { cases: [{ indices: wanted }] } = golden<{ cases: { indices: number[] }[] }>("full_f16_16384");
const tokens = await model.encode(drawnPicture("x0", 1, 256)).indices.ints();
console.log(JSON.stringify({
  seconds,
  tensorBytes,
  peakGrowth: after - before,
  overhead: Number(((after - before) / tensorBytes).toFixed(3)),
  goldenTokens: `${tokens.filter((token, i) => token === wanted[i]).length} of ${wanted.length}`,
  runtime: process.versions.bun ? `bun ${process.versions.bun}` : `deno ${process.versions.deno}`,
}));
process.exit(0);
