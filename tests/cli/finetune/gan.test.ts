// The options of finetune for the GAN: what becomes of them, and what is refused.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { commandFixture, tessera } from "../../support/commands.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, run: tinyRun } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("finetune", () => {
  test("begins the GAN as it is told, and shows how well the discriminator tells pictures apart", async () => {
    const { code, out, err } = await tessera(
      ...[
        ...tinyRun,
        "--steps",
        "4",
        "--val",
        "0",
        "--disc-start",
        "25%",
        "--disc-warmup",
        "1",
        "--disc-ramp",
        "2",
      ],
      ...["--lecam", "0.1", "--disc-max-weight", "3"],
    );
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(
      "the discriminator starts at step 1 (25%); its gradient reaches the autoencoder from step 2 on, and in full from step 4 on",
    );
    expect(out).toContain("step 1: the discriminator starts, and learns alone for 1 step");
    expect(out).toMatch(/disc \d\S* acc \d+\/\d+ % gap -?\d/);
    const path = /^run folder: (.*)$/m.exec(out)![1];
    const { gan, model } = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
    expect(gan).toEqual({
      start: "25%",
      warmup: 1,
      ramp: 2,
      lecam: 0.1,
      maxWeight: 3,
      fixedWeight: null,
      guard: false,
    });
    expect(model.lossconfig.discStart).toBe(1);
    const resumed = await tessera("finetune", "--resume", path, "--steps", "6", "--disc-start", "3");
    expect([resumed.code, resumed.err.trim()]).toEqual([
      2,
      "tessera: --disc-start cannot be changed when a run is resumed: its value is in the checkpoint",
    ]);
  });

  test("takes a fixed weight", async () => {
    const { code, out } = await tessera(
      ...tinyRun,
      "--steps",
      "1",
      "--val",
      "0",
      "--disc-fixed-weight",
      "0.5",
    );
    expect(code).toBe(0);
    const path = /^run folder: (.*)$/m.exec(out)![1];
    const [line] = (await readFile(join(path, "metrics.jsonl"), "utf8")).split("\n").map((line) =>
      line && JSON.parse(line)
    )
      .filter((line) => line["train/d_weight"] !== undefined);
    expect(line["train/d_weight"]).toBe(0.5);
    expect(line["train/d_ratio"]).toBeGreaterThan(0);
  });

  test("--guard goes back twice, then ends with an exit code and the way out", async () => {
    const { code, out, err } = await tessera(
      ...[...tinyRun, "--steps", "60", "--val", "0", "--val-every", "60", "--save-every", "10", "--guard"],
      ...["--disc-start", "33", "--disc-fixed-weight", "100"],
    );
    expect(code).toBe(1);
    expect(
      out.match(/back to step 20, and from there on the GAN counts 0\.(5|25) times as much as at first$/gm)
        ?.length,
    ).toBe(2);
    expect(out).not.toContain("--resume"); // which would stop again
    expect(err.trim().split("\n").length).toBe(1);
    expect(err).toMatch(
      /^tessera: step \d+: rec_loss has jumped to .* Training stopped, and step \d+ is saved\. The last good checkpoint is .*good\.safetensors: begin a new run from it with --from, and with a lower --disc-weight or --lr$/m,
    );
    const good = /checkpoint is (.*good\.safetensors)/.exec(err)![1];
    const again = await tessera(
      "finetune",
      "--from",
      good,
      ...tinyRun.slice(3),
      "--steps",
      "1",
      "--val",
      "0",
    );
    expect(again.code).toBe(0);
  });

  const refused: Record<string, [options: string[], message: string]> = {
    "a start that is none": [
      ["--disc-start", "soon"],
      'expected a step such as 500, "50%" of the run, "2epochs" or "plateau"',
    ],
    "two kinds of weight": [
      ["--disc-fixed-weight", "1", "--disc-weight", "1"],
      "'--disc-fixed-weight <w>' cannot be used with option '--disc-weight <factor>'",
    ],
    "a cap of a fixed weight": [
      ["--disc-fixed-weight", "1", "--disc-max-weight", "1"],
      "cannot be used with option",
    ],
    "a ramp of no GAN": [
      ["--disc-weight", "0", "--disc-ramp", "5"],
      "--disc-ramp has no effect with --disc-weight 0, which turns the GAN off",
    ],
    "a guard of no GAN": [
      ["--disc-fixed-weight", "0", "--guard"],
      "--guard has no effect with --disc-fixed-weight 0, which turns the GAN off",
    ],
    "LeCam of a frozen discriminator": [
      ["--train", "decoder", "--lecam", "0.1"],
      "--lecam has no effect where --train leaves the discriminator frozen",
    ],
    "a guard of what the GAN does not reach": [
      ["--train", "codebook,discriminator", "--guard"],
      "--guard has no effect where --train leaves encoder and decoder frozen, which learn from the GAN",
    ],
    "a cap of no GAN": [
      ["--disc-weight", "0", "--disc-max-weight", "5"],
      "--disc-max-weight has no effect with --disc-weight 0, which turns the GAN off",
    ],
  };
  for (const [what, [options, message]] of Object.entries(refused)) {
    test(`${what} is refused`, async () => {
      const { code, err } = await tessera(...tinyRun, ...options);
      expect(code).toBe(2);
      expect(err).toContain(message);
    });
  }
});
