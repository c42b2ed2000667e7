// The program that wasm/process.test.ts runs in processes of their own: `child.ts bits`, `idle`, `plain` or `checkpoint`. It
// prints one JSON line.
import { createHash } from "node:crypto";
import process from "node:process";
import * as t from "../../src/index.ts";

/** A hash of all bits of every operation whose work is shared among threads, forward and backward. */
async function bits(): Promise<string> {
  const random = new t.Random(1), hash = createHash("sha256");
  const make = (...shape: number[]) => {
    const x = random.uniform(shape, -1, 1);
    x.requiresGrad = true;
    return x;
  };
  const take = async (...values: t.Tensor[]) => {
    for (const value of values) {
      const data = await value.data();
      hash.update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    }
  };
  /** Hashes an output and the gradients of what it was made from. */
  const check = async (inputs: t.Tensor[], out: t.Tensor) => {
    await take(out, ...t.grad([out], inputs, { gradOutputs: [make(...out.shape)] }));
  };

  const image = make(2, 61, 47, 19), weight = make(32, 19, 3, 3), bias = make(32);
  await check([image, weight, bias], t.conv2d(image, weight, bias, { padding: 1 }));
  const narrow = make(3, 19, 3, 3); // with few filters the gradient is split over pixels
  await check([image, narrow], t.conv2d(image, narrow, null, { padding: 1 }));
  const four = make(5, 19, 4, 4);
  await check([image, four], t.conv2d(image, four, null, { stride: 2, padding: 1 }));
  await check([image, four], t.conv2d(image, four, null, { padding: 1, upsample: 2 }));
  // by Winograd: many patches, few patches, 4x4 taps, and an enlarged input
  for (const [size, taps, upsample] of [[61, 3, 1], [14, 3, 1], [31, 4, 1], [40, 3, 2]] as const) {
    const map = make(2, size, size, 20), filters = make(24, 20, taps, taps);
    await check([map, filters], t.conv2d(map, filters, null, { padding: 1, upsample }));
  }
  const channels = make(2, 33, 35, 64), scale = make(64), shift = make(64);
  await check([channels, scale, shift], t.groupNorm(channels, scale, shift, { swish: true }));
  await check([channels, scale, shift], t.batchNorm(channels, scale, shift).out);
  await check([channels], t.maxPool2d(channels, { size: 3, stride: 2, ceil: true }));
  await check([channels], t.avgPool2d(channels, { size: 3, stride: 2, padding: 1, ceil: true }));
  const other = make(2, 33, 35, 64);
  await check([channels, other], t.lpipsDistance(channels, other, scale.detach()));
  const [q, k, v] = [make(2, 150, 48), make(2, 150, 48), make(2, 150, 48)];
  await check([q, k, v], t.attention(q, k, v));
  const long = make(100_001);
  await check([long], long.swish().sum());
  await check([long], t.softmax(long, 3));
  const columns = make(7001, 13), row = make(13);
  await check([columns, row], columns.mul(row).sum(0));
  const codebook = make(777, 24), codes = make(500, 24);
  const nearest = t.nearestCode(codes, codebook);
  await take(nearest);
  await check([codebook], t.embedding(nearest, codebook));
  const [p, g, m, s] = [make(90_001), make(90_001), t.zeros([90_001]), t.zeros([90_001])];
  t.adamStep(p, g, m, s, { lr: 1e-2, beta1: 0.5, beta2: 0.9, eps: 1e-8, step: 1 });
  await take(p, m, s);
  return hash.digest("hex");
}

/** The fraction of one core that an idle process uses, after work that woke every thread. */
async function idle(): Promise<number> {
  const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  const x = t.ones([1, 64, 64, 64]), w = t.ones([64, 64, 3, 3]);
  for (let i = 0; i < 5; i++) t.conv2d(x, w, null, { padding: 1 });
  await sleep(500); // until the runtime has started up and the threads sleep
  const before = process.cpuUsage(), start = performance.now();
  await sleep(1500);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / (performance.now() - start);
}

/** The peak bytes of forward and backward through eight blocks, minus the bytes at the start. */
function peak(wrapped: boolean): number {
  const x = t.ones([1, 64, 64, 16]), w = t.full([16, 16, 3, 3], 0.01);
  w.requiresGrad = true;
  const block = (x: t.Tensor) => {
    const h = t.conv2d(x, w, null, { padding: 1 }).swish();
    return t.conv2d(h.swish(), w, null, { padding: 1, residual: x });
  };
  const before = t.memory().liveBytes;
  t.scope(() => {
    let y: t.Tensor = x;
    for (let i = 0; i < 8; i++) {
      const input = y;
      y = t.scope(() => wrapped ? t.checkpoint(block, input) : block(input));
      if (i > 0) input.dispose();
    }
    t.backward(y.sum());
  });
  return t.memory().peakBytes - before;
}

const jobs: Record<string, () => unknown> = {
  bits,
  idle,
  plain: () => peak(false),
  checkpoint: () => peak(true),
};
console.log(JSON.stringify(await jobs[process.argv[2]]()));
