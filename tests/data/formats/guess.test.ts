// What the shapes in a file show about its model, and what has to be assumed.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { preset } from "../../../data/formats/config.ts";
import {
  formatInspectReport,
  guessConfig,
  inspect,
  isAutoencoder,
  writeSafetensors,
} from "../../../data/index.ts";

let folder = "";
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), "tessera-guess-"))));
afterAll(() => rm(folder, { recursive: true }));

describe("guessConfig", () => {
  const lines = readFileSync(new URL("../../fixtures/f16_16384_keys.tsv", import.meta.url), "utf8").trim()
    .split(
      "\n",
    );
  const full = new Map(lines.map((line) => {
    const [key = "", shape = ""] = line.split("\t");
    return [key, { shape: shape.split("x").filter((n) => /^\d+$/.test(n)).map(Number) }];
  }));
  const expected = {
    embedDim: 256,
    nEmbed: 16384,
    ddconfig: {
      zChannels: 256,
      resolution: 256,
      inChannels: 3,
      outCh: 3,
      ch: 128,
      chMult: [1, 1, 2, 2, 4],
      numResBlocks: 2,
      attnResolutions: [16],
      dropout: 0,
      doubleZ: false,
    },
    lossconfig: { discNumLayers: 2, discNdf: 64, perceptualNet: "vgg" },
  };
  const assumedLoss = [
    ...[
      "lossconfig.discStart",
      "lossconfig.discWeight",
      "lossconfig.discFactor",
      "lossconfig.codebookWeight",
    ],
    ...["lossconfig.perceptualWeight", "lossconfig.discLoss"],
  ];
  const assumedRest = ["beta", "legacyBeta", "attentionOrder"];

  test("the published model from its 392 shapes, with assumptions for the rest", () => {
    expect(full.size).toBe(392);
    const { config, assumed } = guessConfig({ tensors: full });
    expect(config).toMatchObject(expected);
    expect(config).toEqual(preset("f16-16384"));
    expect(assumed).toEqual(["ddconfig.resolution", ...assumedLoss, ...assumedRest]);
  });

  test("AlexNet in the loss is no network to train with", () => {
    const key = "loss.perceptual_loss.net.slice1.0.weight";
    const alex = new Map([...full, [key, { shape: [64, 3, 11, 11] }]]);
    expect(guessConfig({ tensors: alex }).assumed).toContain("lossconfig.perceptualNet");
  });

  test("the settings of a missing part are assumed too", () => {
    const bare = new Map([...full].filter(([key]) => isAutoencoder(key)));
    const { assumed } = guessConfig({ tensors: bare });
    for (const name of ["discNumLayers", "discNdf", "perceptualNet"]) {
      expect(assumed).toContain(`lossconfig.${name}`);
    }
  });

  test("the config that Tessera wrote with the weights fills the gaps, where it is valid", () => {
    const faces = preset("faces"), config = JSON.stringify(faces);
    const guess = guessConfig({ tensors: full, metadata: { config } });
    expect(guess.assumed).toEqual([]);
    expect(guess.config).toMatchObject({
      beta: 0.25,
      legacyBeta: false,
      ddconfig: { resolution: 128, ch: 128 },
    });
    expect(guess.config.lossconfig).toEqual({ ...faces.lossconfig, ...expected.lossconfig });
    const damaged = JSON.stringify({
      beta: "much",
      resolution: -1,
      lossconfig: { discStart: null, discWeight: 2 },
    });
    const { assumed } = guessConfig({ tensors: full, metadata: { config: damaged } });
    expect(assumed).toEqual(
      ["ddconfig.resolution", ...assumedLoss, ...assumedRest].filter((name) =>
        name !== "lossconfig.discWeight"
      ),
    );
    expect(guessConfig({ tensors: full, metadata: { config: "{" } }).assumed.length).toBe(10);
  });

  test("hyper-parameters add what shapes do not show, but do not override them", () => {
    const root = new Map([[
      "hyper_parameters",
      new Map<string, unknown>([
        ["n_embed", 1],
        ["ddconfig", new Map<string, unknown>([["resolution", 128], ["ch", 7]])],
        [
          "lossconfig",
          new Map([[
            "params",
            new Map<string, unknown>([
              ["disc_start", 250001],
              ["disc_loss", "vanilla"],
              ["disc_num_layers", 9],
            ]),
          ]]),
        ],
      ]),
    ]]);
    const { config, assumed } = guessConfig({ tensors: full, root });
    expect(config).toMatchObject({
      ...expected,
      ddconfig: { ...expected.ddconfig, resolution: 128, attnResolutions: [8] },
      lossconfig: { ...expected.lossconfig, discStart: 250001, discLoss: "vanilla" },
    });
    const told = ["lossconfig.discStart", "lossconfig.discLoss"];
    expect(assumed).toEqual([...assumedLoss.filter((name) => !told.includes(name)), ...assumedRest]);
  });

  test("the error for another model names the missing tensor", () => {
    expect(() => guessConfig({ tensors: new Map() })).toThrow("there is no tensor encoder.conv_in.weight");
    const { "quantize.embedding.weight": _, ...rest } = Object.fromEntries(full);
    expect(() => guessConfig({ tensors: new Map(Object.entries(rest)) })).toThrow(
      "no tensor quantize.embedding.weight",
    );
  });

  test("inspect warns about parts that fine-tuning will miss", async () => {
    const path = join(folder, "bare.safetensors");
    const tiny = [...full].filter(([key]) => !key.startsWith("loss.")).map(([name, { shape }]) => {
      // the dimensions in between do not matter here
      const small = shape.map((n, axis) => axis > 1 ? 1 : n === 3 ? 3 : Math.ceil(n / 32));
      const data = () => new Float32Array(small.reduce((a, n) => a * n, 1));
      return { name, dtype: "f32", shape: small, data } as const;
    });
    await writeSafetensors(path, tiny, { state: '{"step":12,"epoch":3}' });
    const report = await inspect(path);
    expect([report.globalStep, report.epoch, report.architecture?.factor]).toEqual([12, 3, 16]);
    expect(report.warnings.map((w) => w.split(":")[0])).toEqual([
      "no discriminator inside",
      "no perceptual network inside",
    ]);
    const text = formatInspectReport(report);
    expect(text).toContain("architecture: VQGAN f16, 512 codes of 8");
    expect(text).toContain("  discriminator: none; perceptual network: none");
    expect(text).toMatch(
      / {2}assumed, because nothing says it: ddconfig\.resolution 256, .*legacyBeta true/,
    );
    await writeFile(path, "<html>");
    await expect(inspect(path)).rejects.toThrow("web page");
  });
});
