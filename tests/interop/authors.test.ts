// Against the authors' own stack, taming under Lightning 1.0.8 and torch 1.7.1 (authors.py): it loads what Tessera wrote and
// sees the same, its main.py goes on from Tessera's run as Tessera itself does, and Tessera goes on from there.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Sampler, writeCartoonFaces } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { device } from "../../src/index.ts";
import { tessera } from "../support/commands.ts";
import {
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

  /** Begins a run of Tessera's that goes on from a log folder. @returns its folder */
  const finetune = async (name: string, steps: number) => {
    await command(
      ...["finetune", "--resume", at(name), "--steps", String(steps), "--base", fixture("vqgan.yaml")],
      ...["--data", fixture("train.txt"), "--val", fixture("test.txt"), "--taming-exact"],
      ...["--log-every", "1", "--out", at("runs", name)],
    );
    return at("runs", name, (await readdir(at("runs", name)))[0]);
  };

  /** Lets main.py go on in its log folder with pictures, two a step. @returns the losses that it logged */
  const finetuneThere = async (pictures: readonly string[], steps: number) => {
    const list = async (name: string, paths: readonly string[]) => {
      await writeFile(at(name), paths.join("\n"));
      return at(name);
    };
    const train = await list("train.txt", pictures);
    const test = await list("test.txt", [fixture("pictures/8.png"), fixture("pictures/9.png")]);
    return job<Losses[]>(
      ...["train", at(logs), "--max_steps", String(steps)] as const,
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
    const run = await finetune(logs, 17);
    await expectLosses(run, await finetuneThere(visited.slice(0, 4), 17), tolerances);
    await expectSameLearnt(run, start);
  });
});
