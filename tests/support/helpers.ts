// What many tests share: devices, numbers filled by key as the goldens were, comparisons that say by how much, leak
// checks, checkpoints opened for a while.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { type CheckpointFile, openCheckpoint } from "../../data/index.ts";
import { asyncScope, device, type DeviceName, memory, type Shape, Tensor, tensor } from "../../src/index.ts";

/** Devices beside the CPU, and why those that this machine lacks cannot be had. */
export const others: readonly DeviceName[] = ["gpujs", "webgpu"];
const missing = new Map<DeviceName, string>();
for (const name of others) await device(name).catch((error: Error) => missing.set(name, error.message));
await device("cpu");

/** The same tests for every device. One that this machine lacks is named as a skipped test. */
export function describeDevices(
  name: string,
  group: (device: DeviceName) => void,
  devices: readonly DeviceName[] = ["cpu", ...others],
): void {
  setDefaultTimeout(300_000); // Bun gives a test five seconds, too few for a driver that compiles on a busy machine
  for (const each of devices) {
    if (missing.has(each)) {
      test.skip(`${name} (${each}): ${missing.get(each)}`, () => {});
      continue;
    }
    describe(`${name} (${each})`, () => {
      beforeAll(async () => void await device(each));
      afterAll(async () => {
        await device(each);
        await asyncScope(() => tensor([0]).floats()); // Deno panics if the GPU is still busy when the process ends
        await device("cpu");
      });
      group(each);
    });
  }
}

/** FNV-1a, 32 bits. */
export function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash;
}

/** n draws u = 2 mulberry32(seed) - 1, the generator behind every golden. */
export function draws(key: string, n: number): Float32Array {
  let state = fnv1a(key);
  return Float32Array.from({ length: n }, () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t;
    return 2 * (((t ^ (t >>> 14)) >>> 0) / 2 ** 32) - 1;
  });
}

/** A tensor of draws. */
export function drawn(key: string, shape: Shape): Tensor {
  return tensor(draws(key, shape.reduce((a, b) => a * b, 1)), shape);
}

/** Largest absolute difference. */
export function distance(a: ArrayLike<number>, b: ArrayLike<number>): number {
  if (a.length !== b.length) throw new Error(`${a.length} values against ${b.length}`);
  let worst = 0;
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i] - b[i]);
    if (!(d <= worst)) worst = d; // NaN counts as worst
  }
  return worst;
}

/** Expects every value within `tolerance` of its counterpart. */
export function expectClose(actual: ArrayLike<number>, wanted: ArrayLike<number>, tolerance: number): void {
  expect(distance(actual, wanted)).toBeLessThanOrEqual(tolerance);
}

/** Expects `fn` to leave no tensor and no byte behind. */
export async function expectNoLeak(fn: () => Promise<void>): Promise<void> {
  const before = memory();
  await fn();
  const after = memory();
  expect(after.liveTensors - before.liveTensors).toBe(0);
  expect(after.liveBytes - before.liveBytes).toBe(0);
}

/** Opens a checkpoint for the length of `use`. */
export async function withFile<T>(path: string, use: (file: CheckpointFile) => Promise<T>): Promise<T> {
  const file = await openCheckpoint(path);
  try {
    return await use(file);
  } finally {
    await file.close();
  }
}
