// What a run writes for people who look at it: report.html, metrics.csv and the worst pictures, also if one of them cannot be
// written.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beginRun, ReportReader, resumeRun, train } from "../../../train/index.ts";
import { expectSameBits, finish, free, metricsOf, ownRun, runFixture } from "../../support/runs.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-showing-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const fixture = await runFixture(folder);

test("report.html and metrics.csv are there after a save and tell what the run has done", async () => {
  const run = await beginRun(fixture.newRun({ saveEvery: 2, valEvery: 2, imageEvery: 2 }));
  const seen: string[] = [], path = (name: string) => join(run.folder.path, name);
  const update = (step: number) => {
    if (step === 3) seen.push(...["report.html", "metrics.csv"].filter((name) => existsSync(path(name))));
  };
  const { report } = await train(run, { monitor: { update, log: () => {} } });
  free(run);
  expect(seen).toEqual(["report.html", "metrics.csv"]);
  expect(report).toBe(path("report.html"));
  const [head, ...rows] = (await readFile(path("metrics.csv"), "utf8")).trim().split("\n");
  expect(rows.map((row) => row.split(",")[0])).toEqual(["0", "1", "2", "3", "4"]);
  const names = new Set((await metricsOf(run.folder.path)).flatMap(Object.keys));
  for (const name of names) expect(head.split(",")).toContain(name);

  const images = (await readdir(path("images"))).sort();
  const expected = ["step", "worst"].flatMap((kind) =>
    [0, 2, 4].flatMap((step) => ["json", "png"].map((ending) => `${kind}-00000${step}.${ending}`))
  );
  expect(images).toEqual(expected);
  const { pictures } = JSON.parse(await readFile(path("images/worst-000004.json"), "utf8")) as {
    pictures: { path: string; psnr: number }[];
  };
  const values = pictures.map(({ psnr }) => psnr);
  expect(values).toEqual([...values].sort((a, b) => a - b));
  const held = (await metricsOf(run.folder.path)).findLast((line) => "val/psnr" in line)!;
  expect(values.reduce((sum, value) => sum + value) / values.length).toBeCloseTo(
    Number(held["val/psnr"]),
    10,
  );
});

test("the report of a run that ends with an error says that it has stopped", async () => {
  const run = await beginRun(fixture.newRun({ saveEvery: 1 })), path = join(run.folder.path, "report.html");
  const fail = (step: number) => {
    if (step === 2) throw new Error("enough");
  };
  await expect(train(run, { monitor: { update: fail, log: () => {} } })).rejects.toThrow("enough");
  free(run);
  expect(await readFile(path, "utf8")).toContain('"activity":"stopped","why":"enough","step":2');
  const resumed = await resumeRun(run.folder.path), live = new ReportReader(run.folder.path);
  const seen: unknown[] = [];
  const look = async () => {
    const { activity, why } = await live.read(() => null);
    seen.push([activity, why]);
  };
  const { trainStep } = resumed.trainer;
  resumed.trainer.trainStep = async function (batches) {
    await look();
    return await trainStep.call(this, batches);
  };
  await look(); // the folder is taken, and nothing is computed yet
  await finish(resumed);
  await look();
  const training = ["training", null];
  expect(seen).toEqual([["stopped", "enough"], training, training, ["finished", "it has all its 4 steps"]]);
});

test("a run goes on without them, with the same bits, and counts the failures", async () => {
  const plain = await ownRun(fixture, "plain"), { newRun } = fixture;
  const run = await beginRun(newRun({ data: [plain.data], steps: 2 }));
  for (const name of ["report.html", "metrics.csv"]) {
    await mkdir(join(run.folder.path, name, "inside"), { recursive: true });
  }
  const { report, failures } = await train(run);
  free(run);
  expect(report).toBe(null);
  expect(failures.map(({ what }) => what).sort()).toEqual(["report", "table"]);
  expect(run.notes.filter(({ kind }) => kind === "failed").length).toBe(4); // each once, and their numbers
  await expectSameBits(run.folder.path, plain.path);
});

test("a resumed run has no pictures from after its checkpoint", async () => {
  const { path } = await ownRun(fixture, "resumed", { imageEvery: 1, valEvery: 1 });
  const run = await resumeRun(path, { steps: 3 });
  await run.folder.rewind(1);
  expect((await readdir(join(path, "images"))).some((name) => name.includes("000002"))).toBe(false);
  await finish(run);
  expect(existsSync(join(path, "images", "worst-000003.png"))).toBe(true);
});
