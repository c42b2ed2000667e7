// Compares 3x3 convolutions with PyTorch's, in GFLOP/s of forward, input gradient (dX) and weight gradient (dW):
//   PYTHON=venv/bin/python deno run -A bench/conv.ts [threads]        or: bun bench/conv.ts [threads]
// Each figure is the best of five; a multiply-add counts as two operations. PyTorch is shown in its faster memory order.
import process from "node:process";
import { conv2d, grad, noGrad, Random, scope } from "../src/index.ts";
import { load, table, theirs, torchVersion } from "./children.ts";

const SHAPES = [[128, 128, 256], [256, 256, 64], [512, 512, 16]] as const;

interface Rates {
  conv: string;
  forward: number;
  dX: number;
  dW: number;
}

const threads = process.argv[2] ?? "2";
process.env.TESSERA_THREADS = threads; // read when the first tensor is made
console.log(`${threads} threads; ${load(Number(threads))}`);

/** The GFLOP/s of the best of five runs, after one run to warm up. */
function rate(flop: number, run: () => void): number {
  let best = Infinity;
  for (let i = 0; i < 6; i++) {
    const start = performance.now();
    run();
    if (i > 0) best = Math.min(best, performance.now() - start);
  }
  return Math.round(flop / best / 1e5) / 10;
}

/** On the CPU all work is finished when a call returns, so nothing has to be read before the clock stops. */
function measure(inChannels: number, outChannels: number, side: number): Rates {
  return scope(() => {
    const random = new Random(0);
    const x = random.uniform([1, side, side, inChannels]);
    const w = random.uniform([outChannels, inChannels, 3, 3]);
    const g = random.uniform([1, side, side, outChannels]);
    const flop = 2 * inChannels * outChannels * 9 * side * side;
    const gradientOf = (t: typeof x) => {
      t.requiresGrad = true;
      const out = conv2d(x, w, null, { padding: 1 });
      t.requiresGrad = false;
      return rate(flop, () => scope(() => void grad([out], [t], { gradOutputs: [g], retainGraph: true })));
    };
    return {
      conv: `3x3 ${inChannels}->${outChannels} ${side}x${side}`,
      forward: rate(flop, () => noGrad(() => scope(() => void conv2d(x, w, null, { padding: 1 })))),
      dX: gradientOf(x),
      dW: gradientOf(w),
    };
  });
}

const mine = SHAPES.map(([inChannels, outChannels, side]) => measure(inChannels, outChannels, side));
const peers = torchVersion() ? theirs<Rates>("pytorch_conv.py", [threads]) : [];
const kinds = ["forward", "dX", "dW"] as const;
const rows = mine.flatMap((own) => {
  const others = peers.filter(({ conv }) => conv === own.conv);
  const ours = [own.conv, "Tessera", ...kinds.map((kind) => own[kind].toFixed(1))];
  if (others.length === 0) return [ours];
  const best = kinds.map((kind) => Math.max(...others.map((rates) => rates[kind])).toFixed(1));
  return [ours, ["", "PyTorch", ...best]];
});
console.log(`\n${table([["GFLOP/s", "", ...kinds], ...rows])}\n${load(Number(threads))}`);
