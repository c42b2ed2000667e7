// The backend that counts the work of kernels without running them, and the lines that a profile writes.
import { expect, test } from "bun:test";
import { CountingBackend } from "../../../src/backends/counting.ts";
import { profiled } from "../../../src/backends/profile.ts";
import { withBackend } from "../../../src/device.ts";
import { conv2d, matmul, noGrad, ones, scope } from "../../../src/index.ts";

/** Runs a product of [2, 3] and [3, 5] twice, and a 3x3 convolution with a bias. */
function work(): void {
  noGrad(() =>
    scope(() => {
      const a = ones([2, 3]), b = ones([3, 5]), x = ones([1, 4, 4, 8]);
      matmul(a, b);
      matmul(a, b);
      conv2d(x, ones([6, 8, 3, 3]), ones([6]), { padding: 1 });
    })
  );
}

test("counts calls, operations and bytes by kernel and in all, and the memory at its peak", () => {
  const backend = new CountingBackend();
  withBackend(backend, work);
  const product = { calls: 2, flops: 2 * 2 * 2 * 3 * 5, bytes: 2 * 4 * (6 + 15 + 10) };
  const picture = 16 * 8, weight = 6 * 8 * 9, out = 16 * 6;
  const conv = { calls: 1, flops: 2 * out * 8 * 9, bytes: 4 * (picture + weight + 6 + out) };
  const fills = { calls: 5, flops: 0, bytes: 4 * (6 + 15 + picture + weight + 6) };
  expect(Object.fromEntries(backend.totals)).toEqual({ fill: fills, matmul: product, conv2d: conv });
  expect(backend.total).toEqual({
    calls: 8,
    flops: product.flops + conv.flops,
    bytes: fills.bytes + product.bytes + conv.bytes,
  });
  expect(backend.peak).toBe(4 * (6 + 15 + picture + weight + 6 + 2 * 10 + out));
  expect(backend.largest).toBe(4 * weight);
  expect(backend.memory().reservedBytes).toBe(0);
});

test("a profile has a line for each call, with sizes, time and rates, and the backend still runs", () => {
  const lines: string[] = [], backend = profiled(new CountingBackend(), (line) => lines.push(line));
  withBackend(backend, work);
  const rates = String.raw`\d+\.\d{3} ms \d+\.\d GFLOP/s \d+\.\d GB/s`;
  const product = String.raw`counting matmul \{a:6,b:15,out:10,m:2,k:3,n:5,transposeB:false\}`;
  expect(lines.map((line) => line.split(" ")[1])).toEqual([
    ...["fill", "fill", "fill", "matmul", "matmul", "fill", "fill", "conv2d"],
  ]);
  expect(lines[3]).toMatch(new RegExp(`^${product} ${rates}$`));
  expect(lines[7]).toContain("residual:null");
  expect(lines[7]).toContain("kernel:[3,3]");
  expect(backend.total.calls).toBe(lines.length);
});
