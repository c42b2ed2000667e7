// tessera bench: it counts, checks and times on the CPU, writes a report, and is beside the figures that the pages have.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { countWork, jobNames, subjects } from "../../../cli/bench/jobs.ts";
import { knownLosses, whatIsWrong } from "../../../cli/bench/known_answer.ts";
import { estimateSeconds } from "../../../cli/bench/measure.ts";
import { references } from "../../../cli/bench/reference.ts";
import { formatSeconds, type Report, toMarkdown } from "../../../cli/bench/report.ts";
import { device } from "../../../src/index.ts";
import { ended, start } from "../../support/commands.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-bench-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const page = (name: string) => readFile(new URL(`../../../${name}`, import.meta.url), "utf8");

describe("tessera bench", () => {
  test("measures the small model and writes the same figures as JSON and Markdown", async () => {
    const { code, out, err } = await ended(start("bench", "--small", "--device", "cpu", "--out", folder));
    expect({ code, err }).toEqual({ code: 0, err: "" });
    const [json, markdown] = (await readdir(folder)).sort();
    expect(json).toMatch(/^tessera-bench-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.json$/);
    const report: Report = JSON.parse(await readFile(join(folder, json), "utf8"));
    const [{ model, device, timings }] = report.results;
    expect([report.results.length, model, device]).toEqual([1, "small", "CPU"]);
    for (const name of jobNames) {
      const { seconds, median, gflops } = timings[name];
      expect(seconds.length).toBeGreaterThan(2);
      expect(seconds).toContain(median);
      expect(gflops).toBeGreaterThan(0);
      expect(out).toContain(`${formatSeconds(median)} |`);
    }
    expect(report.machine.processor).toMatch(/^\d+ cores?/);
    expect(report.checks.CPU).toMatch(
      /^3x3 convolution, largest error .*; three training steps as they should be$/,
    );
    expect(await readFile(join(folder, markdown), "utf8")).toBe(toMarkdown(report));
    expect(out).toContain(`report to share: ${join(folder, json)}, ${join(folder, markdown)}\n`);
  });

  test("stops at once when it is interrupted, and leaves nothing behind", async () => {
    const out = join(folder, "interrupted"),
      child = start("bench", "--small", "--device", "cpu", "--out", out);
    let seen = "";
    child.stdout!.on("data", (text) => seen += text);
    while (!seen.includes("checked:")) await new Promise((resolve) => setTimeout(resolve, 20));
    const end = ended(child);
    child.kill("SIGINT");
    expect((await end).code).toBe(130);
    expect(await readdir(out)).toEqual([]);
  });

  test("knows the losses of three steps, and notices others", async () => {
    await device("cpu");
    const losses = await knownLosses();
    expect(whatIsWrong(losses)).toBe("");
    expect(whatIsWrong(losses.with(1, losses[0]))).toMatch(
      /^training step 2 has loss 0\.58.*, which should be 0\.563795$/,
    );
    expect(whatIsWrong(losses.with(2, NaN))).toContain("training step 3 has loss NaN");
  });

  test("counts work, and estimates time from that of another model", async () => {
    const cost = await countWork(subjects.small);
    const { encode, decode, "training step": step } = cost.flops;
    expect(encode).toBeGreaterThan(1e9);
    expect(decode).toBeGreaterThan(encode);
    expect(step).toBeGreaterThan(2.5 * (encode + decode)); // forward, both gradients, and the discriminator
    const timing = (flops: number) => ({ seconds: [], median: flops / 1e10, gflops: 10 });
    const timings = { encode: timing(encode), decode: timing(decode), "training step": timing(step) };
    const twice = { ...cost, flops: { encode: 2 * encode, decode: 2 * decode, "training step": 2 * step } };
    const runs = 4; // one to warm up, and three
    expect(estimateSeconds(twice, { timings, cost })).toBeCloseTo(
      runs * 2 * (encode + decode + step) / 1e10,
      6,
    );
  });

  test("shows the figures that the pages have", async () => {
    const pages = await page("bench/README.md") + (await page("docs/webgpu.md"));
    for (const { seconds } of references) {
      for (const value of Object.values(seconds)) {
        const text = value < 0.1 ? `| ${Math.round(value * 1000)} ` : `| ${value.toFixed(2)} s |`;
        expect(pages).toContain(text);
      }
    }
  });
});
