// Reading taming's configs: custom_vqgan.yaml as it is, merging and assignments, and invalid input.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readTamingConfig } from "../../../train/index.ts";
import { stepsOfEpochs } from "../../../train/taming/config.ts";
import { customVqgan } from "../../support/taming.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-taming-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function file(name: string, text: string): Promise<string> {
  const path = join(folder, name);
  await writeFile(path, text);
  return path;
}
const base = await file("custom_vqgan.yaml", customVqgan);

describe("a config", () => {
  test("by taming is read unchanged", async () => {
    const { notes, ...config } = await readTamingConfig([base]);
    expect(config).toEqual({
      from: null,
      preset: "f16-16384",
      model: {
        embedDim: 256,
        nEmbed: 1024,
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
        lossconfig: {
          discStart: 10000,
          discWeight: 0.8,
          codebookWeight: 1,
          // not in the file, so these are the defaults of the class that it names
          discNumLayers: 3,
          discNdf: 64,
          discFactor: 1,
          perceptualWeight: 1,
          discLoss: "hinge",
        },
      },
      data: "some/training.txt",
      val: "some/test.txt",
      size: 256,
      batch: 5,
      baseLr: 4.5e-6,
      accumulate: null,
      steps: null,
      epochs: null,
    });
    expect(notes).toEqual(["data.params.num_workers has no effect here"]);
  });

  test("is changed by later configs, and finally by assignments", async () => {
    const second = await file(
      "second.yaml",
      "model: {params: {n_embed: 16384, ddconfig: {ch_mult: [1, 2]}, ckpt_path: last.ckpt, monitor: val/rec_loss}}\n" +
        "lightning: {trainer: {max_epochs: 3, accumulate_grad_batches: 2, gpus: '0,'}}\n",
    );
    const config = await readTamingConfig([base, second], [
      "model.params.lossconfig.params.disc_num_layers=2",
      "data.params.batch_size=7",
      "model.params.ddconfig.attn_resolutions=[8, 16]",
      "lightning.trainer.max_steps=90",
    ]);
    expect(config).toMatchObject({ from: "last.ckpt", batch: 7, epochs: 3, steps: 90, accumulate: 2 });
    expect(config.model).toMatchObject({
      nEmbed: 16384,
      ddconfig: { chMult: [1, 2], attnResolutions: [8, 16], ch: 128 },
      lossconfig: { discNumLayers: 2, discStart: 10000 },
    });
    expect(config.notes).toContain("lightning.trainer.gpus has no effect here");
  });

  const loss = "model.params.lossconfig";
  const cases: [string[], string][] = [
    [
      ["model.target=taming.models.cond_transformer.Net2NetTransformer"],
      "model.target is taming.models.cond_transformer.Net2NetTransformer; Tessera knows taming.models.vqgan.VQModel",
    ],
    [
      [`${loss}.target=taming.modules.losses.DummyLoss`],
      "Tessera knows taming.modules.losses.vqperceptual.VQLPIPS",
    ],
    [
      ["data.params.train.target=taming.data.imagenet.ImageNetTrain"],
      "Tessera knows taming.data.custom.CustomTrain, taming.data.custom.CustomTest",
    ],
    [["data.target=null"], "data.target is missing; Tessera knows main.DataModuleFromConfig"],
    [["model.params.n_embd=3"], "model.params.n_embd is not known (the known ones there are"],
    [[`${loss}.params.disc_strat=3`], `${loss}.params.disc_strat is not known`],
    [[`${loss}.params.disc_loss=wasserstein`], "Tessera knows hinge and vanilla"],
    [[`${loss}.params.use_actnorm=true`], "use_actnorm is true, expected false"],
    [["model.params.n_embed=many"], 'model.params.n_embed is "many", expected a number'],
    [["model.params.n_embed=null"], "model.params.n_embed is missing"],
    [["model.params.ddconfig.resolution=200"], "resolution is 200, which 5 levels do not halve evenly"],
    [["model.params.ddconfig=3"], "model.params.ddconfig is 3, expected a group of settings"],
    [["model.params.ddconfig.ch_mult=[a]"], "expected a list of numbers"],
    [["data.params.validation.params.size=128"], "train has size 256 and validation 128"],
    [["model.params.ignore_keys=[loss]"], "ignore_keys is not supported"],
    [["models.params.n_embed=3"], "models is not known"],
    [["n_embed"], '"n_embed" is not an assignment such as'],
    [[".=1"], "is not an assignment"],
    [["model.params.n_embed=[1"], "model.params.n_embed=[1: "],
    [["model.params.n_embed=${model.params.embed}"], "refers to model.params.embed, which no config sets"],
  ];
  for (const [assignments, message] of cases) {
    test(`refused: ${assignments}`, async () => {
      await expect(readTamingConfig([base], assignments)).rejects.toThrow(message);
    });
  }

  const train = "data.params.train", validation = "data.params.validation";
  const other = (
    set: string,
    name: string,
  ) => [`${set}.target=taming.data.${name}`, `${set}.params.size=null`];
  const imageNet = [...other(train, "imagenet.ImageNetTrain"), `${train}.params.config.size=224`];
  const held = [...other(validation, "imagenet.ImageNetValidation"), `${validation}.params.config.size=224`];

  test("with another class of pictures is read if its lists are replaced", async () => {
    const all = [...imageNet, ...held];
    await expect(readTamingConfig([base], all)).rejects.toThrow(`${train}.target is`);
    await expect(readTamingConfig([base], all, { val: true })).rejects.toThrow(`${train}.target is`);
    const { notes, ...config } = await readTamingConfig([base], all, { data: true });
    expect(config).toMatchObject({ val: null, size: 224, batch: 5 });
    expect(notes).toContain(
      `no validation: ${validation}.target is taming.data.imagenet.ImageNetValidation, whose pictures are not known here`,
    );
    const both = await readTamingConfig([base], all, { data: true, val: true });
    expect(both.notes).toEqual([
      `${train}: taming crops at random for taming.data.imagenet.ImageNetTrain; here it is the middle unless said otherwise`,
      "data.params.num_workers has no effect here",
    ]);
    // FacesHQ's own way to name the size, and another class of the whole section
    const faces = [
      ...other(train, "faceshq.FacesHQTrain"),
      `${train}.params.crop_size=128`,
      "data.target=my.Module",
    ];
    const mine = await readTamingConfig([base], [...faces, ...held, "data.params.extra=1"], {
      data: true,
      val: true,
    })
      .catch(String);
    expect(mine).toContain("train has size 128 and validation 224");
    const sized = [...faces, `${validation}.params=null`, "data.params.extra=1"];
    const { size, notes: more } = await readTamingConfig([base], sized, { data: true, val: true });
    expect([size, more.at(-1)]).toEqual([128, "data.params.extra has no effect here"]);
    // a list for validation that can be read stays
    const kept = await readTamingConfig([base], other(train, "faceshq.FacesHQTrain"), { data: true });
    expect([kept.data, kept.val, kept.size]).toEqual(["some/training.txt", "some/test.txt", null]);
  });

  test("with remap says what a run makes of it", async () => {
    const { notes } = await readTamingConfig([base], [
      "model.params.remap=used.npy",
      "model.params.sane_index_shape=on",
    ]);
    expect(notes[0]).toBe(
      "model.params.remap: tokens are renumbered only if the checkpoint holds quantize.used",
    );
  });

  test("counts epochs in steps as Lightning does, partial batches and steps included", () => {
    expect(stepsOfEpochs(3, 8, 2, 1)).toBe(12);
    expect(stepsOfEpochs(3, 9, 2, 1)).toBe(15);
    expect(stepsOfEpochs(2, 9, 2, 2)).toBe(6);
    expect(stepsOfEpochs(1, 1, 4, 8)).toBe(1);
    expect(stepsOfEpochs(0, 9, 2, 2)).toBe(0);
  });

  test("that is missing or not a config", async () => {
    await expect(readTamingConfig([join(folder, "none.yaml")])).rejects.toThrow("there is no such file");
    await expect(readTamingConfig([folder])).rejects.toThrow("this is a folder and not a file");
    await expect(readTamingConfig([await file("a.yaml", "data: {}")])).rejects.toThrow(
      '"model" is missing',
    );
    await expect(readTamingConfig([await file("b.yaml", "- 1\n- 2")])).rejects.toThrow(
      "expected settings such as",
    );
    await expect(readTamingConfig([await file("c.yaml", "a: [\n")])).rejects.toThrow(/c\.yaml: .*line/);
    await expect(readTamingConfig([await file("d.yaml", "<!DOCTYPE html>")])).rejects.toThrow("web page");
  });
});
