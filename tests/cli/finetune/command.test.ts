// The output of finetune, on the CPU and on a GPU.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { commandFixture, tessera } from "../../support/commands.ts";
import { describeDevices } from "../../support/devices.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, run: tinyRun } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("finetune", () => {
  test("reports what it found, and the results", async () => {
    const { code, out } = await tessera(...tinyRun, "--steps", "2", "--val", "0.2", "--seed", "5");
    expect(code).toBe(0);
    expect(out).toContain("discriminator: from the file");
    expect(out).toContain("4 pictures, 1 for validation; 2 steps of 2 at 16x16, learning rate 0.00100");
    expect(out).toMatch(/PSNR \d+\.\d\d -> \d+\.\d\d dB/);
    const files = [...out.matchAll(/^(?:checkpoint|before and after): (.*)$/gm)].map(([, path]) => path);
    expect(files.length).toBe(2);
    for (const file of files) await stat(file);
  });

  test("a run that diverges fails with one line", async () => {
    const { code, err } = await tessera(...tinyRun, "--steps", "5", "--lr", "1e30", "--log-every", "1");
    expect(code).toBe(1);
    expect(err).toMatch(/^tessera: step \d: .* so training stopped.*\. A lower --lr may help\.$/m);
    expect(err.trim().split("\n").length).toBe(1);
  });
});

describeDevices("--device webgpu", () => {
  test("learns as on the CPU, and each continues where the other stopped", async () => {
    const losses = async (first: string, second: string) => {
      const begun = await tessera(
        ...tinyRun,
        "--steps",
        "2",
        "--val",
        "0.2",
        "--seed",
        "5",
        "--device",
        first,
      );
      expect([begun.code, begun.err]).toEqual([
        0,
        first === "webgpu" ? expect.stringMatching(/^device: .*\n$/) : "",
      ]);
      const run = /^run folder: (.*)$/m.exec(begun.out)![1];
      const resumed = await tessera("finetune", "--resume", run, "--steps", "4", "--device", second);
      expect([resumed.code, resumed.err.startsWith("device: ")]).toEqual([0, second === "webgpu"]);
      const lines = (await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n");
      return lines.flatMap((line) => JSON.parse(line)["val/rec_loss"] ?? []) as number[];
    };
    const wanted = await losses("cpu", "cpu");
    expect(wanted.length).toBeGreaterThan(2);
    for (const [first, second] of [["webgpu", "cpu"], ["cpu", "webgpu"]]) {
      const found = await losses(first, second);
      expect(found.length).toBe(wanted.length);
      // early steps of Adam depend on the signs of tiny gradients, which rounding decides
      found.forEach((loss, i) => expect(Math.abs(loss / wanted[i] - 1)).toBeLessThan(i === 0 ? 1e-5 : 2e-2));
    }
  });
}, ["webgpu"]);
