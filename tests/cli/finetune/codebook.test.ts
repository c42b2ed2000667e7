// The options of finetune for the codebook: what becomes of them, and what is refused.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { defaultCodebook } from "../../../train/index.ts";
import { commandFixture, tessera } from "../../support/commands.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, model, faces, run: tinyRun } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));

const base = ["--steps", "1", "--val", "0"];
const scratch = [
  ...[
    "finetune",
    "--scratch",
    "--data",
    faces,
    "--no-lpips",
    "--size",
    "16",
    "--ch",
    "32",
    "--ch-mult",
    "1,1",
  ],
  ...["--res-blocks", "1", "--codes", "16", "--z-channels", "32", "--disc-ndf", "8", "--disc-layers", "1"],
  ...["--out", join(folder, "runs"), ...base],
];

async function configOf(out: string) {
  const path = /^run folder: (.*)$/m.exec(out)![1];
  return { path, ...JSON.parse(await readFile(join(path, "config.json"), "utf8")) };
}

describe("finetune", () => {
  test("trains the codebook as it is told", async () => {
    const { code, out, err } = await tessera(
      ...[...tinyRun, ...base, "--codebook", "ema", "--codebook-decay", "0.9", "--rotation", "--kmeans"],
      ...[
        "--entropy",
        "0.01",
        "--entropy-temperature",
        "0.1",
        "--restart-dead-codes",
        "5",
        "--restart-below",
        "0.1",
      ],
    );
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("vectors of the loaded encoder");
    const { path, codebook } = await configOf(out);
    expect(codebook).toEqual({
      ...{
        learning: "ema",
        emaDecay: 0.9,
        gradient: "rotation",
        entropyWeight: 0.01,
        entropyTemperature: 0.1,
      },
      ...{ kmeans: true, restartEvery: 5, restartBelow: 0.1 },
    });
    const resumed = await tessera("finetune", "--resume", path, "--steps", "2", "--codebook", "adam");
    expect([resumed.code, resumed.err.trim()]).toEqual([
      2,
      "tessera: --codebook cannot be changed when a run is resumed: its value is in the checkpoint",
    ]);
  });

  test("leaves that of a checkpoint as it is, and restarts the dead codes of a new one", async () => {
    expect((await configOf((await tessera(...tinyRun, ...base)).out)).codebook).toEqual(defaultCodebook);
    const made = await configOf((await tessera(...scratch)).out);
    expect(made.codebook).toEqual({ ...defaultCodebook, restartEvery: 100 });
    expect(made.model).toMatchObject({ quantizer: "nearest", embedDim: 32 });
  });

  test("makes a model with codes of length 1, trained as LlamaGen's", async () => {
    const { code, out } = await tessera(
      ...scratch,
      "--quantizer",
      "normalized",
      "--embed-dim",
      "8",
      "--codebook",
      "simvq",
    );
    expect(code).toBe(0);
    const { model, codebook } = await configOf(out);
    expect(model).toMatchObject({ quantizer: "normalized", embedDim: 8, beta: 0.25, legacyBeta: false });
    expect(codebook).toEqual({ ...defaultCodebook, learning: "simvq" });
  });

  const refused: readonly [words: string[], message: string][] = [
    [["--codebook-decay", "0.9"], "--codebook-decay has no effect without --codebook ema"],
    [["--entropy-temperature", "0.1"], "--entropy-temperature has no effect without --entropy"],
    [["--restart-below", "0.1"], "--restart-below has no effect without --restart-dead-codes"],
    [
      ["--train", "decoder", "--codebook", "ema"],
      "--codebook has no effect where --train leaves the codebook frozen",
    ],
    [
      ["--train", "decoder", "--rotation"],
      "--rotation has no effect where --train leaves the encoder frozen, whose gradients it turns",
    ],
    [
      ["--train", "codebook,decoder", "--rotation"],
      "--rotation has no effect where --train leaves the encoder frozen",
    ],
    [
      ["--train", "decoder", "--entropy", "1"],
      "--entropy has no effect where --train leaves encoder and codebook frozen",
    ],
    [
      ["--train", "codebook,discriminator", "--identity", "1"],
      "--identity has no effect where --train leaves encoder and decoder frozen",
    ],
    [
      ["--codebook", "simvq", "--restart-dead-codes", "5"],
      "--restart-dead-codes cannot be used with --codebook simvq: all codes move together, and none can be moved alone",
    ],
    [
      ["--quantizer", "normalized"],
      "--quantizer only works with --scratch: the model of a checkpoint stays as it is built",
    ],
    [["--codebook-decay", "1"], "expected a number from 0 to below 1"],
    [["--codebook", "magic"], "Allowed choices are adam, ema, simvq;"],
  ];
  for (const [words, message] of refused) {
    test(`refuses ${words.join(" ")}`, async () => {
      const { code, err } = await tessera("finetune", "--from", model, "--data", faces, ...words);
      expect(err).toContain(message);
      expect([code, err.trim().split("\n").length]).toEqual([2, 1]);
    });
  }

  test("refuses --kmeans with --scratch", async () => {
    const { code, err } = await tessera(...scratch, "--kmeans");
    expect([code, err.trim()]).toEqual([
      2,
      "tessera: --kmeans has no effect with --scratch, which always begins with k-means",
    ]);
  });
});
