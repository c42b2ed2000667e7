// What finetune says about its plan and its results, and options that would have no effect.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { commandFixture, tessera } from "../../support/commands.ts";

setDefaultTimeout(600_000); // 150 steps take half a minute on two free cores

const { folder, run: tinyRun } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("finetune", () => {
  test("says that a run made the model worse, and that the best file is the one it started from", async () => {
    const { code, out } = await tessera(
      ...tinyRun,
      "--steps",
      "12",
      "--val",
      "0.2",
      "--lr",
      "0.3",
      "--disc-weight",
      "0",
    );
    expect(code).toBe(0);
    const from = tinyRun[tinyRun.indexOf("--from") + 1];
    const last = out.trim().split("\n").slice(-8).join("\n");
    expect(last).toMatch(/^warning: the model is worse than at step 0: rec_loss \d\.\d+ -> \d+\.\d+$/m);
    expect(last).toMatch(/^best checkpoint: the model that the run started from, rec_loss \d\.\d+: /m);
    expect(last).toContain(from);
    expect((out.match(/^step \d+: PSNR/gm) ?? []).length).toBe(13); // step 0, and every one of twelve
  });

  test("says before the first step that the discriminator never takes effect", async () => {
    const { out } = await tessera(...tinyRun, "--steps", "1", "--disc-start", "1");
    expect(out).toContain("warning: the discriminator never takes effect: it would from step 1 on");
    expect(out.indexOf("never takes effect") < out.indexOf("step 0:")).toBe(true);
  });

  test("does not call pictures kept back that it learns from", async () => {
    const data = tinyRun[tinyRun.indexOf("--data") + 1];
    const { out } = await tessera(...tinyRun, "--steps", "1", "--val", data);
    expect(out).toContain("learns, or has learnt, from 5 of the 5 validation pictures");
    expect(out).not.toContain("kept back");
  });

  for (
    const [option, value] of [["--codes", "512"], ["--preset", "faces"], ["--disc-ndf", "8"], ["--attn", "8"]]
  ) {
    test(`${option} without --scratch is refused`, async () => {
      const { code, err } = await tessera(...tinyRun, option, value);
      expect([code, err.trim()]).toEqual([
        2,
        `tessera: ${option} only works with --scratch: the model of a checkpoint stays as it is built`,
      ]);
    });
  }

  test("--lpips-dropout with --no-lpips is refused", async () => {
    const { code, err } = await tessera(...tinyRun, "--no-lpips", "--lpips-dropout");
    expect([code, err.trim()]).toEqual([2, "tessera: --lpips-dropout has no effect with --no-lpips"]);
  });
});

// The defaults must suit the model that comes with Tessera, also the next one.
const portraits = fileURLToPath(new URL("../../../../shared/faces256", import.meta.url));
if (!existsSync(portraits)) {
  test.skip(`30 portraits improve the small model in 150 steps without a flag: there is no ${portraits}`, () => {});
} else {
  test("30 portraits improve the small model in 150 steps without a flag", async () => {
    const data = join(folder, "portraits");
    await mkdir(data);
    const all = (await readdir(portraits)).filter((name) => name.endsWith(".jpg")).sort();
    for (let i = 0; i < 30; i++) {
      const name = all[Math.floor(i * all.length / 30)];
      await copyFile(join(portraits, name), join(data, name));
    }
    const from = fileURLToPath(new URL("../../../models/faces.safetensors", import.meta.url));
    const { code, out } = await tessera(
      ...["finetune", "--from", from, "--data", data, "--steps", "150", "--val-every", "150"],
      ...["--image-every", "150", "--out", join(folder, "runs")],
    );
    expect(code).toBe(0);
    const change = (name: string, which: string) => {
      const found = new RegExp(`${name} (\\S+) -> (\\S+?)(?: dB)?(?:,.*| )\\(\\d+ pictures ${which}\\)`).exec(
        out,
      )!;
      return Number(found[2]) - Number(found[1]);
    };
    for (const which of ["for validation", "of the training"]) {
      expect([which, change("PSNR", which) > 0, change("SSIM", which) > 0]).toEqual([which, true, true]);
    }
  });
}
