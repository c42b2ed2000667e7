// metrics.jsonl is followed while it grows, with half lines, rubbish and rewinds.
import { afterAll, expect, test } from "bun:test";
import { appendFile, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { MetricsFile, seriesOf } from "../../../train/report/metrics_file.ts";

const folder = await mkdtemp(join(tmpdir(), "tessera-metrics-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const steps = async (file: MetricsFile) => (await file.read()).map(({ step }) => step);

test("it reads what is new, and half a line when it is whole", async () => {
  const path = join(folder, "growing.jsonl"), file = new MetricsFile(path);
  expect(await steps(file)).toEqual([]);
  await appendFile(path, '{"step":1}\n{"step":2,"tr');
  expect(await steps(file)).toEqual([1]);
  await appendFile(path, 'ain/ü":0.5}\n');
  expect(await file.read()).toEqual([{ step: 1 }, { step: 2, "train/ü": 0.5 }]);
  await rm(path);
  expect(await steps(file)).toEqual([]);
});

test("a line of several megabytes, and characters across the end of what one read gives", async () => {
  const path = join(folder, "long.jsonl"), name = "ü".repeat(700_000);
  await writeFile(path, `{"step":1,"${name}":1}\n{"step":2}\n{"st`);
  const file = new MetricsFile(path);
  expect(await steps(file)).toEqual([1, 2]);
  expect(Object.keys((await file.read())[0])[1]).toBe(name);
});

test("what is no file has no lines", async () => {
  const path = join(folder, "folder.jsonl");
  await mkdir(path);
  expect(await steps(new MetricsFile(path))).toEqual([]);
});

test("lines that say nothing are left out", async () => {
  const path = join(folder, "rubbish.jsonl");
  await writeFile(
    path,
    'null\n[1]\n{"step":"3"}\n\n\0\0\n{"step":1e300}\n{"step":-1}\n{"step":4,"a":null,"b":"text","c":2}\n',
  );
  const rows = await new MetricsFile(path).read();
  expect(rows.map(({ step }) => step)).toEqual([4]);
  expect(seriesOf(rows, 10)).toEqual([{ name: "c", steps: [4], values: [2] }]);
});

test("a run that was rewound counts from there on", async () => {
  const path = join(folder, "rewound.jsonl"), file = new MetricsFile(path);
  const lines = (...steps: number[]) => steps.map((step) => `{"step":${step},"a":${step}}\n`).join("");
  await writeFile(path, lines(1, 2, 3, 4));
  expect(await steps(file)).toEqual([1, 2, 3, 4]);
  await writeFile(`${path}.new`, lines(1, 2, 5, 6, 7)); // replaced, and longer than before
  await rename(`${path}.new`, path);
  expect(await steps(file)).toEqual([1, 2, 5, 6, 7]);
  await writeFile(path, lines(1)); // cut
  expect(await steps(file)).toEqual([1]);
  await appendFile(path, lines(2, 3, 2, 3)); // goes back within the file
  expect(await steps(file)).toEqual([1, 2, 3]);
});

test("many values are thinned to the extremes of each stretch and the last one, and metrics are bounded", () => {
  const rows = Array.from(
    { length: 10_000 },
    (_, step) => ({ step, a: step === 5123 ? 99 : step % 7, b: 1 / 3 }),
  );
  const [a, b] = seriesOf(rows, 100);
  expect(a.values.length).toBeLessThanOrEqual(100);
  expect(a.values).toContain(99);
  expect(a.steps[a.values.indexOf(99)]).toBe(5123);
  expect([a.steps[0], a.steps.at(-1)]).toEqual([0, 9999]);
  expect(a.steps).toEqual([...a.steps].sort((x, y) => x - y));
  expect(b.values[0]).toBe(0.333333);
  const many = Object.fromEntries(Array.from({ length: 1000 }, (_, i) => [`m${i}`, i]));
  expect(seriesOf([{ step: 1, ...many }], 10).length).toBe(200);
});
