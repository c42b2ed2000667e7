// Small runs, on pictures of soft discs, for the tests of training.
import { Buffer } from "node:buffer";
import { expect } from "bun:test";
import { cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { VQModelConfig } from "../../data/formats/config.ts";
import { type Picture, savePng } from "../../data/index.ts";
import { Random } from "../../src/index.ts";
import {
  beginRun,
  checkpointOf,
  defaultCodebook,
  defaultOptions,
  type Metrics,
  type NewRun,
  type Run,
  train,
} from "../../train/index.ts";
import { smallConfig } from "./small_model.ts";

/** The model of the runs. Its discriminator starts after two steps. */
export const runConfig: VQModelConfig = smallConfig({ discStart: 2 });

/** A soft disc on a plain background, which a model can learn. */
export function blob(seed: number, side: number): Picture {
  const random = new Random(seed);
  const [x, y, radius] = [random.next() * side, random.next() * side, side * (0.2 + 0.3 * random.next())];
  const colors = Array.from({ length: 6 }, () => Math.floor(256 * random.next()));
  const pixels = new Uint8Array(side * side * 3);
  for (let i = 0; i < pixels.length; i++) {
    const p = Math.floor(i / 3), inside = Math.hypot(p % side - x, Math.floor(p / side) - y) < radius;
    pixels[i] = colors[i % 3 + (inside ? 3 : 0)];
  }
  return { width: side, height: side, pixels };
}

/** Writes six pictures below `folder`. @returns the options of a run of four steps on them, with these changes */
export async function runFixture(
  folder: string,
): Promise<{ faces: string; newRun: (changes?: Partial<NewRun["options"]>) => NewRun }> {
  const faces = join(folder, "faces");
  await mkdir(faces);
  for (let i = 0; i < 6; i++) await savePng(join(faces, `${i}.png`), blob(i, 32));
  const newRun = (changes: Partial<NewRun["options"]> = {}): NewRun => ({
    start: { scratch: runConfig },
    perceptual: "none",
    out: join(folder, "runs"),
    options: {
      ...defaultOptions,
      data: [faces],
      size: 16,
      batch: 2,
      steps: 4,
      lr: 1e-3,
      crop: "random",
      flip: true,
      logEvery: 1,
      codebook: { ...defaultCodebook, restartEvery: 3 },
      val: 0.3,
      name: "test",
      ...changes,
    },
  });
  return { faces, newRun };
}

/** A run of two steps on a copy of the pictures, which has its name. @returns its folder and that of its pictures */
export async function ownRun(
  { faces, newRun }: Awaited<ReturnType<typeof runFixture>>,
  name: string,
  changes: Partial<NewRun["options"]> = {},
): Promise<{ path: string; data: string }> {
  const data = join(faces, "..", name);
  await cp(faces, data, { recursive: true, preserveTimestamps: true });
  return { path: await finish(await beginRun(newRun({ data: [data], steps: 2, ...changes }))), data };
}

/** Trains a run to its end and frees it. @returns its folder */
export async function finish(run: Run): Promise<string> {
  await train(run);
  run.trainer.dispose();
  run.trainer.model.dispose();
  return run.folder.path;
}

/** Frees a run that is not trained, or not any more. */
export function free(run: Run): void {
  run.folder.release();
  run.trainer.dispose();
  run.trainer.model.dispose();
}

/** Expects the last checkpoints of two runs to have the same tensors, to the last bit. */
export async function expectSameBits(a: string, b: string): Promise<void> {
  const [one, two] = await Promise.all(
    [a, b].map(async (run) => await tensorBytes(await checkpointOf(run))),
  );
  expect(one.header).toEqual(two.header);
  expect(Buffer.compare(one.bytes, two.bytes)).toBe(0);
}

/** The metrics of a run without times. */
export async function metricsOf(run: string): Promise<Metrics[]> {
  const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
  return lines.map((line) => {
    const { seconds_per_step: _, seconds_left: _left, ...rest } = JSON.parse(line) as Metrics;
    return rest;
  });
}

/** The bytes of all tensors of a safetensors file, which follow its header. */
export async function tensorBytes(
  path: string,
): Promise<{ header: Record<string, unknown>; bytes: Uint8Array }> {
  const file = await readFile(path);
  const length = Number(file.readBigUInt64LE(0));
  const { __metadata__, ...header } = JSON.parse(file.subarray(8, 8 + length).toString().trim());
  return { header, bytes: new Uint8Array(file.subarray(8 + length)) };
}
