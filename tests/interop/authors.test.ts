// Against the authors' own stack, taming under Lightning 1.0.8 and torch 1.7.1 (authors.py): it loads what Tessera wrote and
// sees the same, its main.py goes on from Tessera's run as Tessera itself does, and Tessera goes on from there.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { createHash } from "node:crypto";
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readImage, Sampler, writeCartoonFaces } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { device } from "../../src/index.ts";
import { tessera } from "../support/commands.ts";
import { yamlScalars } from "../support/yaml.ts";
import {
  copyPictures,
  expected,
  expectLosses,
  expectSame,
  fixture,
  type Inference,
  learntIn,
  type Losses,
  makeLogFolder,
  reconstruct,
  rms,
  unpack,
} from "./fixtures.ts";
import { describePython, testDeadline } from "./python.ts";

setDefaultTimeout(testDeadline);

const needed = ["torch", "torchvision", "pytorch-lightning", "omegaconf", "taming-transformers-rom1504"];

describePython("authors.py", needed, (job) => {
  let folder: string, before: boolean | undefined;
  const at = (...names: string[]) => join(folder, ...names);
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tessera-authors-"));
    before = (await device("cpu")).exact;
    await device("cpu", { exact: true });
    await unpack("lightning108", at("lightning108"));
    await copyPictures(folder);
  });
  afterAll(async () => {
    await device("cpu", { exact: before });
    await rm(folder, { recursive: true, force: true });
  });

  const command = async (...words: string[]) => {
    const { code, out, err } = await tessera(...words);
    if (code !== 0) throw new Error(`tessera ${words.join(" ")}: exit code ${code}\n${out}${err}`);
  };
  const checkpointIn = (name: string) => at(name, "checkpoints", "last.ckpt");
  const reconstructThere = (path: string, pictures: readonly string[]) =>
    job<{ missing: string[]; unexpected: string[]; pictures: Inference[] }>("reconstruct", path, ...pictures);

  test("VQModel loads what Tessera converted there and back, and still computes the fixture's numbers", async () => {
    await command("convert", checkpointIn("lightning108"), at("again.safetensors"));
    await command("convert", at("again.safetensors"), at("again.ckpt"));
    const { inference } = expected<{ inference: Record<string, Inference> }>("lightning108");
    const found = reconstructThere(at("again.ckpt"), Object.keys(inference).map(fixture));
    expect([found.missing, found.unexpected]).toEqual([[], []]);
    for (const [i, theirs] of Object.values(inference).entries()) expectSame(found.pictures[i], theirs);
  });

  test("VQModel loads Tessera's small model, and sees the same tokens and pictures", async () => {
    const path = fileURLToPath(new URL("../../models/faces.safetensors", import.meta.url));
    await command("convert", path, at("faces.ckpt"));
    await writeCartoonFaces(at("faces"), 2, 128, 1);
    const pictures = (await readdir(at("faces"))).map((name) => at("faces", name));
    const found = reconstructThere(at("faces.ckpt"), pictures);
    expect(found.missing.filter((key) => !key.startsWith("loss."))).toEqual([]);
    expect(found.unexpected).toEqual([]);
    const model = await VQGAN.load(path);
    for (const [i, picture] of pictures.entries()) {
      expectSame(await reconstruct(model, picture), found.pictures[i]);
    }
    model.dispose();
  });

  const sampler = new Sampler(8, { seed: 0 });
  const visited = Array.from({ length: 8 }, () => fixture(`pictures/${sampler.next().index}.png`));
  const logs = "logs/tessera"; // main.py wants a folder in logs
  const { continued_3_steps } = expected<{ continued_3_steps: { rounding_noise: string[] } }>("lightning108");
  const isNoise = (name: string) =>
    continued_3_steps.rounding_noise.some((key) => name === key || name.endsWith(`.${key}`));

  const onlyIn = async (folder: string) => join(folder, (await readdir(folder))[0]);

  /** Begins a run of Tessera's that goes on from a log folder. @returns its folder */
  const finetune = async (name: string, steps: number, ...words: string[]) => {
    const same = ["--taming-exact", "--log-every", "1", "--val-every", "100", "--out", at("runs", name)];
    await command("finetune", "--resume", at(name), "--steps", String(steps), ...same, ...words);
    return await onlyIn(at("runs", name));
  };

  /** Lets main.py go on in its log folder with pictures, two a step. @returns the losses that it logged */
  const finetuneThere = async (pictures: readonly string[], steps: number) => {
    const list = async (name: string, paths: readonly string[]) => {
      await writeFile(at(name), paths.join("\n"));
      return at(name);
    };
    const train = await list("visited.txt", pictures);
    const test = await list("held.txt", [fixture("pictures/8.png"), fixture("pictures/9.png")]);
    return job<Losses[]>(
      // the folder's own max_epochs has been reached
      ...["train", at(logs), "--max_steps", String(steps), "--max_epochs", "99"] as const,
      `data.params.train.params.training_images_list_file=${train}`,
      `data.params.validation.params.test_images_list_file=${test}`,
    );
  };

  // Now and then either side rounds an input of some ReLU across its kink. Bounds are three to ten times the errors seen
  // then; elsewhere errors were a hundred times smaller.
  const tolerances = [1e-3, 1e-2];

  /** Expects a run of Tessera's to have learnt what main.py has: weights are measured by how far they moved. */
  const expectSameLearnt = async (run: string, start: ReadonlyMap<string, Float64Array>) => {
    const ours = await learntIn(join(run, "checkpoints", "last.safetensors"));
    const theirs = await learntIn(checkpointIn(logs));
    expect([...ours.keys()].sort()).toEqual([...theirs.keys()].sort());
    const errors = [...theirs].filter(([name]) => !isNoise(name)).map(([name, values]) => {
      const before = start.get(name)!, way = values.map((v, i) => v - before[i]);
      const difference = values.map((v, i) => v - ours.get(name)![i]);
      return { name, error: rms(difference) / rms(name.startsWith("optimizer.") ? values : way) };
    }).sort((a, b) => b.error - a.error);
    expect(errors.filter(({ error }) => !(error < 0.4))).toEqual([]);
    expect(errors[errors.length >> 1].error).toBeLessThan(0.03);
  };

  test("main.py goes on from Tessera's run as Tessera does", async () => {
    const run = await finetune("lightning108", 13), saved = join(run, "checkpoints", "last.safetensors");
    await command("convert", saved, await makeLogFolder(at(logs)));
    const start = await learntIn(saved);
    await command("finetune", "--resume", run, "--steps", "15");
    await expectLosses(run, await finetuneThere(visited.slice(2, 6), 15), tolerances);
    await expectSameLearnt(run, start);
  });

  test("Tessera goes on from there as main.py does", async () => {
    const start = await learntIn(checkpointIn(logs));
    // the pictures that main.py went on with are in the configs by now
    const run = await finetune(logs, 17, "--data", at("train.txt"), "--val", at("test.txt"));
    await expectLosses(run, await finetuneThere(visited.slice(0, 4), 17), tolerances);
    await expectSameLearnt(run, start);
  });

  test("Tessera goes on from a run of main.py's that failed, told nothing but its log folder", async () => {
    const place = at("begun"), [sanity, firstSteps] = [1 * 2, 3 * 2]; // of both optimizers
    await mkdir(place);
    await copyPictures(place);
    await copyFile(fixture("vqgan.yaml"), join(place, "vqgan.yaml"));
    const words = ["--base", "vqgan.yaml", "-n", "t", "--max_epochs", "3"];
    await job("begin", place, String(sanity + firstSteps + 1), ...words);
    const log = await onlyIn(join(place, "logs"));
    await command("finetune", "--resume", log, "--out", at("runs", "begun"));
    const run = await onlyIn(at("runs", "begun"));
    const settings = JSON.parse(await readFile(join(run, "config.json"), "utf8"));
    // it failed in step 4 of the first epoch, which Lightning counts as done; two epochs of four steps are left
    expect(settings).toMatchObject({ batch: 2, size: 32, steps: 4 + 2 * 4, lr: 4e-4, name: "t" });
    expect(settings).toMatchObject({ data: [join(place, "train.txt")], val: join(place, "test.txt") });
    expect(settings.model.lossconfig).toMatchObject({ discStart: 6, discNumLayers: 2, discNdf: 16 });
    const [first] = (await readFile(join(run, "metrics.jsonl"), "utf8")).split("\n");
    const ours: Record<string, number> = JSON.parse(first);
    const theirs = await job<Losses[]>("train", log, "--max_epochs", "2");
    const before = theirs.filter(({ split }) => split === "val").slice(0, 2);
    expect(before.map(({ global_step }) => global_step)).toEqual([ours.step, ours.step]);
    for (const name of ["val/rec_loss", "val/p_loss", "val/quant_loss", "val/g_loss"]) {
      const value = before.find((call) => name in call)![name];
      expect([name, Math.abs(ours[name] - value) < 1e-6]).toEqual([name, true]);
    }
    expect((await readFile(join(run, "metrics.jsonl"), "utf8")).trim().split("\n").at(-1)).toContain(
      '"step":12',
    );
  });

  test("its loader makes the pixels that readImage makes", async () => {
    const pixels = (name: string) =>
      fileURLToPath(new URL(`../fixtures/taming_pixels/${name}`, import.meta.url));
    // Pillow 8.4 has no libjpeg-turbo, so what it makes of JPEGs is not what later ones make
    const names = (await readdir(pixels("."))).filter((name) => /\.(png|webp)$|^opaque/.test(name)).map(
      pixels,
    );
    const theirs = job<[number, number, string][]>("pixels", "24", ...names);
    const ours = await Promise.all(names.map(async (name) => {
      const { width, height, pixels } = await readImage(name, { size: 24, resize: "taming" });
      return [width, height, createHash("sha256").update(pixels).digest("hex")];
    }));
    expect(ours).toEqual(theirs);
  });

  test("settings in YAML are read as OmegaConf reads them", () => {
    const theirs = job<unknown[]>("settings", ...yamlScalars.map(([text]) => text));
    expect(yamlScalars.map(([, value]) => value)).toEqual(theirs);
  });
});
