// TensorBoard's event files: checksums, framing and histograms. tests/interop/boards.test.ts asks TensorBoard itself.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beginRun, train } from "../../../train/index.ts";
import { EventFile } from "../../../train/report/tensorboard/event_file.ts";
import { histogramOf } from "../../../train/report/tensorboard/events.ts";
import { crc32c, frame } from "../../../train/report/tensorboard/records.ts";
import { expectSameBits, free, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-events-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const bytes = (text: string) => new TextEncoder().encode(text);

test("checksums are CRC-32C, and framed as TensorFlow does", () => {
  expect(crc32c(bytes("123456789"))).toBe(0xe3069283);
  expect(crc32c(new Uint8Array(32))).toBe(0x8a9136aa); // RFC 3720, appendix B.4
  expect(crc32c(new Uint8Array(32).fill(255))).toBe(0x62a8ab43);
  const record = frame(bytes("abc")), view = new DataView(record.buffer);
  expect([record.length, view.getBigUint64(0, true)]).toEqual([19, 3n]);
  expect([...record.subarray(12, 15)]).toEqual([...bytes("abc")]);
  const unmask = (masked: number) => {
    const rotated = (masked - 0xa282ead8) >>> 0;
    return ((rotated >>> 17) | (rotated << 15)) >>> 0;
  };
  expect(unmask(view.getUint32(8, true))).toBe(crc32c(record.subarray(0, 8)));
  expect(unmask(view.getUint32(15, true))).toBe(crc32c(bytes("abc")));
});

test("histograms count every value once", () => {
  const { counts, limits, ...rest } = histogramOf([Float32Array.of(-1, 0, 1), Float32Array.of(1)])!;
  expect(rest).toEqual({ min: -1, max: 1, count: 4, sum: 1, sumOfSquares: 3 });
  expect([counts[0], counts[30], counts[59], counts.reduce((a, b) => a + b)]).toEqual([1, 1, 2, 4]);
  expect([limits.length, limits.at(-1)]).toEqual([60, 1]);
  expect(histogramOf([new Float32Array(5)])!.counts[0]).toBe(5);
  expect(histogramOf([])).toBe(null);
  expect(histogramOf([Float32Array.of(1, Infinity)])).toBe(null);
});

test("the names of event files are in the order in which they were begun", async () => {
  const run = join(folder, "names");
  await mkdir(run);
  const begun = [];
  for (let i = 0; i < 3; i++) begun.push((await EventFile.begin(run, i, [])).path);
  expect((await readdir(run)).sort().map((name) => join(run, name))).toEqual(begun);
});

test("an event that cannot be written leaves the file whole, is told once, and changes no bits", async () => {
  const { newRun } = await runFixture(folder), plain = await beginRun(newRun());
  await train(plain);
  free(plain);
  const run = await beginRun(newRun({ report: { tensorboard: true } })), { path } = run.folder;
  const files = async () => (await readdir(path)).filter((name) => name.includes("tfevents"));
  let before: Uint8Array | null = null;
  const changes: Promise<void>[] = [];
  const update = (step: number) => {
    if (step !== 2) return;
    changes.push((async () => {
      const [name] = await files();
      before = await readFile(join(path, name));
      await rm(join(path, name));
      await mkdir(join(path, name)); // it can be written no more
    })());
  };
  const { failures } = await train(run, { monitor: { update, log: () => {} } });
  await Promise.all(changes);
  free(run);
  expect(before!.length).toBeGreaterThan(1000);
  expect(failures.map(({ what }) => what)).toEqual(["tensorboard"]);
  expect(failures[0].times).toBeGreaterThan(1);
  expect(run.notes.filter(({ kind, text }) => kind === "failed" && text.includes("TensorBoard")).length).toBe(
    2,
  );
  await expectSameBits(path, plain.folder.path);
});
