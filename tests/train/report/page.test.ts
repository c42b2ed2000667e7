// The page of a run: what it has inside, that nothing a run says becomes HTML, and how metrics become charts.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ReportFiles } from "../../../train/report/files.ts";
import {
  groupsOf,
  logTicksOf,
  nearest,
  rangeOf,
  smooth,
  ticksOf,
} from "../../../train/report/page/series.js";
import { renderPage, ReportReader, WorstPictures } from "../../../train/index.ts";
import { reconstructed, shownRun } from "../../support/shown_run.ts";

setDefaultTimeout(30_000); // the first use of sharp takes a second on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-report-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

test("a run is read with its metrics, sheets, settings and time left", async () => {
  const { path } = await shownRun(folder, "read"), reader = new ReportReader(path);
  const read = () => reader.read(({ file }) => file);
  const report = await read();
  expect([report.name, report.activity, report.step, report.steps]).toEqual(["read", "stopped", 40, 100]);
  expect([report.passes, report.secondsLeft]).toEqual([1.6, null]);
  expect(report.sheets.map(({ src, columns }) => [src, columns])).toEqual([
    ...["step-000000.png", "step-000020.png", "step-000040.png"].map((name) => [name, 3]),
    ...["worst-000000.png", "worst-000020.png", "worst-000040.png"].map((name) => [name, 2]),
  ]);
  expect(report.sheets[0].entries?.map(({ path }) => path)[1]).toBe("/pictures/<b>2.png");
  expect(report.settings).toEqual([["steps", "100"], ["data", '["/pictures"]'], ["lr", "0.0001"]]);
  await writeFile(join(path, "lock.json"), "{}");
  const { activity, secondsLeft } = await read();
  expect(activity).toBe("training");
  expect(secondsLeft).toBeLessThanOrEqual(120);
  expect(secondsLeft).toBeGreaterThan(60);
  const old = new Date(Date.now() - 120_000);
  await utimes(join(path, "lock.json"), old, old); // the heartbeat of a process that was killed
  expect((await read()).activity).toBe("stopped");
  await writeFile(join(path, "ending.json"), '{"activity":"finished","step":45,"why":"a <b>metric</b>"}');
  const ended = await read(), { why, step } = ended;
  expect([ended.activity, why, step]).toEqual(["finished", "a <b>metric</b>", 45]);
  await writeFile(join(path, "ending.json"), '{"activity":"bored"}');
  expect((await read()).why).toBe(null);
});

test("an empty folder and rubbish in it are a run without numbers", async () => {
  const path = join(folder, "rubbish"), { path: other } = await shownRun(folder, "rubbish");
  expect(other).toBe(path);
  for (const name of ["config.json", "metrics.jsonl", "images/step-000020.png", "images/step-000040.json"]) {
    await writeFile(join(path, name), "\0 no");
  }
  await mkdir(join(path, "images", "step-000060.png"));
  const report = await new ReportReader(path).read(({ file }) => file);
  expect([report.activity, report.steps, report.settings, report.metrics]).toEqual(["waiting", null, [], []]);
  expect(report.sheets.map(({ src, entries }) => [src, entries === null]).slice(0, 2)).toEqual([
    ["step-000000.png", false],
    ["step-000040.png", true],
  ]);
});

test("nothing that a run says becomes HTML or leaves its script", async () => {
  const name = `<img src=x onerror=alert(1)>"'</script><script>alert(2)</script>`;
  const report = await new ReportReader(join(folder, "none")).read(() => null);
  const page = await renderPage({ ...report, name, settings: [["a", name]] }, false);
  expect(page).not.toContain("<img");
  expect(page.match(/<script/g)?.length).toBe(2);
  expect(page.match(/<\/script/g)?.length).toBe(2);
  const [, json] = /type="application\/json">(.*)<\/script>/.exec(page)!;
  expect((JSON.parse(json) as { report: { name: string } }).report.name).toBe(name);
  expect(page).toContain("default-src 'none'; script-src 'sha256-");
});

test("report.html has everything inside and stays small", async () => {
  const run = await shownRun(folder, "whole");
  for (let step = 50; step < 100; step++) {
    await run.saveSheet("step", step, [1, 2, 3].map((seed) => reconstructed(seed, step / 100)));
  }
  const files = new ReportFiles(run.path), page = await readFile(await files.writePage(), "utf8");
  expect(page).not.toMatch(/(?:src|href)="?(?:http|\/)/);
  const [, json] = /type="application\/json">(.*)<\/script>/.exec(page)!;
  const { sheets } =
    (JSON.parse(json) as { report: { sheets: { kind: string; step: number; src: string }[] } }).report;
  const steps = sheets.filter(({ kind }) => kind === "step").map(({ step }) => step);
  expect([steps.length, steps[0], steps.at(-1)]).toEqual([12, 0, 99]);
  expect(sheets.filter(({ kind }) => kind === "worst").map(({ step }) => step)).toEqual([40]);
  expect(sheets.every(({ src }) => src.startsWith("data:image/jpeg;base64,"))).toBe(true);
  const again = await readFile(await files.writePage(), "utf8"), dates = /"time":"[^"]*"/;
  expect(again.replace(dates, "")).toBe(page.replace(dates, ""));
});

test("the worst pictures are kept, the worst first", () => {
  const worst = new WorstPictures(3);
  for (const psnr of [20, 30, 10, 25, Infinity, 5]) worst.add({ ...reconstructed(1, 0.5), psnr });
  expect(worst.list.map(({ psnr }) => psnr)).toEqual([5, 10, 20]);
});

test("each metric has a chart, also one that nobody knows", () => {
  const names = [
    "train/rec_loss",
    "val/rec_loss",
    "val/psnr",
    "train/logits_real",
    "train/logits_fake",
    "lr",
    "x/odd",
    "odd",
  ];
  const metrics = [...names, "train/g_loss", "epoch", "passes"].map((name) => ({
    name,
    steps: [1, 2],
    values: name === "train/g_loss" ? [0, 0] : [1, 2],
  }));
  const found = groupsOf(metrics).map(({ title, charts, zeros }) => ({
    title,
    zeros,
    charts: charts.map(({ key, lines }) => [key, ...lines.map(({ label, color }) => `${label} ${color}`)]),
  }));
  expect(found).toEqual([
    { title: "Quality", zeros: [], charts: [["psnr", "kept back 1"]] },
    { title: "Loss", zeros: [], charts: [["rec_loss", "training step 0", "kept back 1"]] },
    {
      title: "Discriminator",
      zeros: ["train/g_loss"],
      charts: [["logits", "real, training step 0", "made, training step 1"]],
    },
    { title: "Learning rate and speed", zeros: [], charts: [["lr", "lr 0"]] },
    { title: "Other metrics", zeros: [], charts: [["odd", "x 0", "odd 1"]] },
  ]);
});

test("axes", () => {
  expect(ticksOf(0, 1, 4)).toEqual([0, 0.5, 1]);
  expect(logTicksOf(0.001, 10)).toEqual([0.001, 0.01, 0.1, 1, 10]);
  expect(smooth([1, 1, 1], 0.9).map((value) => Number(value.toFixed(9)))).toEqual([1, 1, 1]);
  expect(smooth([0, 4, 0], 0.5)[1]).toBe(2); // 4 / (0.5 + 1 + 0.5)
  expect(rangeOf([1, 1], [[1, 1]], false)).toEqual([0.9, 1.1]);
  expect(rangeOf([0, 10], [[0, 10]], false)).toEqual([0, 10.6]);
  expect([nearest([0, 10, 20], 14), nearest([0, 10, 20], 99)]).toEqual([1, 2]);
});
