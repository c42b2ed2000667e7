// The options of finetune for its optimizers and for the end of a run: what becomes of them, what is said, and what is refused.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { commandFixture, tessera } from "../../support/commands.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, faces, run: tinyRun } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));
const words = (text: string) => text.split(" ");
const folderOf = (out: string) => /^run folder: (.*)$/m.exec(out)![1];

describe("finetune", () => {
  test("trains parts at rates of their own, keeps an average, and other commands use it", async () => {
    const { code, out, err } = await tessera(
      ...tinyRun,
      ...words(
        "--epochs 1 --val 0.2 --train decoder,discriminator --lr-of discriminator=1e-4 --betas 0.9,0.95",
      ),
      ...words(
        "--weight-decay 0.05 --clip 1 --ema 0.9 --decay linear --lr-floor 1e-4 --keep 2 --save-minutes 30",
      ),
      ...words("--stop-when val/psnr --patience 50 --save-every 1"),
    );
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain(
      "only decoder, discriminator learn; all else is frozen, so tokens that were made before stay valid",
    );
    expect(out).toContain("learning rates: discriminator 0.0001, all else 0.001");
    expect(out).toContain("2 steps of 2 at 16x16, learning rate 0.00100, 1.0 passes over the pictures");
    expect(out).toContain("the run ends early when val/psnr has not got better for 50 measurements");
    expect(out).toMatch(/ pass 1\.00 rec /);
    const path = folderOf(out), config = JSON.parse(await readFile(join(path, "config.json"), "utf8"));
    expect(config).toMatchObject({
      ...{ steps: 2, decay: "linear", lrFloor: 1e-4, keep: 2, saveMinutes: 30 },
      stopWhen: { metric: "val/psnr", patience: 50 },
      optimizer: {
        ...{ train: ["decoder", "discriminator"], rates: { discriminator: 1e-4 }, betas: [0.9, 0.95] },
        ...{ weightDecay: 0.05, clip: 1, ema: 0.9 },
      },
    });
    expect((await readdir(join(path, "checkpoints"))).sort()).toEqual([
      ...["last.safetensors", "step-000001.safetensors", "step-000002.safetensors"],
    ]);
    const encoded = await tessera("encode", "--model", path, "--out", join(folder, "tokens.jsonl"), faces);
    expect([encoded.code, encoded.out + encoded.err]).toEqual([
      0,
      expect.stringContaining("weights: their average over the training (EMA)"),
    ]);
    const converted = await tessera("convert", path, join(folder, "on.ckpt"));
    expect(converted.out).toContain("weights: those of the last step, with their average (EMA) beside them");
    expect(converted.out).toContain(
      "note: taming knows no weight decay and no clipping and no learning rates of parts, and would go on without",
    );
    const stripped = await tessera("convert", path, join(folder, "strip.safetensors"), "--strip");
    expect(stripped.out).toContain("weights: their average over the training (EMA)");

    const resumed = await tessera(
      ...["finetune", "--resume", path, "--epochs", "2", "--clip", "0", "--lr-of", "decoder=1e-4"],
      ...["--stop-when", "never", "--keep", "1"],
    );
    expect([resumed.code, resumed.err]).toEqual([0, ""]);
    for (
      const line of [
        "steps in all: 4 (before: 2)",
        "latest checkpoints that stay: 1 (before: 2)",
        "learning rates of parts: decoder 0.0001 (before: discriminator 0.0001)",
        "largest norm of the gradients: 0 (before: 1)",
        "the run ends with its last step (before: when val/psnr has not got better for 50 measurements)",
      ]
    ) expect(resumed.out).toContain(line);
    const refused = await tessera("finetune", "--resume", path, "--train", "all");
    expect([refused.code, refused.err.trim()]).toEqual([
      2,
      "tessera: --train cannot be changed when a run is resumed: its value is in the checkpoint",
    ]);
  });

  test("starts the GAN of a new model half way, also if only its passes are given", async () => {
    const { code, out } = await tessera(
      ...[
        "finetune",
        "--scratch",
        "--no-lpips",
        "--out",
        join(folder, "new"),
        "--data",
        faces,
      ],
      ...words("--size 16 --ch 32 --ch-mult 1,1 --codes 16 --embed-dim 8 --val 0 --epochs 2"),
    );
    expect(code).toBe(0);
    const { steps, gan, model } = JSON.parse(await readFile(join(folderOf(out), "config.json"), "utf8"));
    expect([gan.start, model.lossconfig.discStart]).toEqual(["50%", steps / 2]);
  });

  test("refuses what has no effect or no meaning", async () => {
    const refused = async (text: string) => {
      const { code, err } = await tessera(...tinyRun, ...words(text));
      expect(code).not.toBe(0);
      expect(err.trim().split("\n").length).toBe(1);
      return err;
    };
    expect(await refused("--train decoder,lpips")).toContain(
      'there is no part "lpips"; use all, or some of encoder, codebook, decoder, attention, discriminator',
    );
    expect(await refused("--train decoder --lr-of encoder=1e-5")).toContain(
      "encoder has a learning rate but is not among the parts that learn",
    );
    expect(await refused("--train codebook --lr-of attention=1e-5")).toContain(
      "attention has a learning rate but is not among the parts that learn",
    );
    expect(await refused("--lr-of decoder=1e-5,decoder=1e-4")).toContain("decoder is there twice");
    expect(await refused("--codebook ema --lr-of codebook=1e-4")).toContain(
      "codebook has the learning rate 0.0001, but running averages move the codes (learning is ema)",
    );
    expect(await refused("--lr-of decoder:1e-5")).toContain("such as decoder=1e-5,codebook=1e-4");
    expect(await refused("--betas 0.9")).toContain(
      "expected two numbers from 0 to below 1, such as 0.9,0.95",
    );
    expect(await refused("--ema 1")).toContain("expected a number from 0 to below 1, such as 0.999");
    expect(await refused("--lr-floor 1e-6")).toContain("--lr-floor has no effect with --decay constant");
    expect(await refused("--epochs 2 --steps 3")).toContain(
      "'--epochs <n>' cannot be used with option '--steps <n>'",
    );
    expect(await refused("--ema 0.9 --train discriminator")).toContain(
      "ema is 0.9, but the autoencoder does not learn",
    );
    expect(await refused("--stop-when seen/p_loss")).toContain(
      "seen/p_loss needs a perceptual network, and there is none: use seen/rec_loss",
    );
    expect(await refused("--patience 3")).toContain("--patience has no effect without --stop-when");
    expect(await refused("--stop-when never --patience 3")).toContain(
      "--patience has no effect with --stop-when never",
    );
    expect(await refused("--stop-when seen/ssim --size 8")).toContain(
      "seen/ssim needs pictures of 11x11 pixels or more, and there are only ones of 8x8: use seen/psnr",
    );
    expect(await refused("--stop-when psnr")).toContain('metric is "psnr", expected "val/rec_loss"');
  });
});
