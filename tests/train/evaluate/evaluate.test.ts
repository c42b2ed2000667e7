// An evaluation against the same numbers computed one by one; two models; what is written; and stopping.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ImageDataset, readImage, savePng, toPictures } from "../../../data/index.ts";
import { cropPicture, flipPicture, type Picture, toFloats } from "../../../data/pictures/picture.ts";
import { CodebookUsage, type LPIPS, VQGAN } from "../../../nn/index.ts";
import { asyncScope, noGrad, Random, tensor } from "../../../src/index.ts";
import { finish } from "../../../src/parts.ts";
import {
  evaluate,
  loadFaceNetwork,
  psnr,
  squeezeSpace,
  ssim,
  writeEvaluation,
} from "../../../train/index.ts";
import { frechetParts, Moments } from "../../../train/evaluate/frechet.ts";
import { expectClose, expectNoLeak } from "../../support/expectations.ts";
import { randomLpips } from "../../support/lpips.ts";
import { blob } from "../../support/runs.ts";
import { smallConfig } from "../../support/small_model.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few on a busy machine

const side = 32, count = 5;
let folder: string, model: VQGAN, other: VQGAN, lpips: LPIPS;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-evaluate-"));
  for (let i = 0; i < count; i++) await savePng(join(folder, `${i}.png`), blob(i, side));
  [model, other] = [1, 2].map((seed) =>
    new VQGAN(smallConfig({ perceptualWeight: 0 }), new Random(seed)).eval()
  );
  lpips = randomLpips();
});
afterAll(async () => {
  for (const module of [model, other, lpips]) module.dispose();
  await rm(folder, { recursive: true });
});

const open = () => ImageDataset.open(folder, { size: side, shuffle: false, onSkip: () => {} });

/** A picture and its reconstruction, as `reconstruct` makes it. */
async function pairOf(i: number): Promise<{ original: Picture; made: Picture; tokens: Int32Array }> {
  const original = await readImage(join(folder, `${i}.png`), { size: side });
  return await asyncScope(async () => {
    const images = tensor(toFloats(original.pixels), [1, side, side, 3]);
    const made = await model.reconstruct(images).floats();
    return {
      original,
      made: toPictures(made, [1, side, side, 3])[0],
      tokens: await model.encode(images).indices.ints(),
    };
  });
}

test("numbers are those of each picture by itself", async () => {
  const spaces = [squeezeSpace(lpips)], usage = new CodebookUsage(16);
  const moments = [new Moments(512), new Moments(512)], values: Record<string, number>[] = [];
  for (let i = 0; i < count; i++) {
    const { original, made, tokens } = await pairOf(i);
    usage.add(tokens);
    await asyncScope(async () => {
      const [a, b] = [original, made].map(({ pixels }) => tensor(toFloats(pixels), [1, side, side, 3]));
      for (const [j, x] of [a, b].entries()) moments[j].add(await noGrad(() => spaces[0].call(x)).floats());
      values.push({
        psnr: psnr(original, made),
        ssim: ssim(original, made),
        l1: original.pixels.reduce((sum, v, k) => sum + Math.abs(v - made.pixels[k]), 0) /
          original.pixels.length / 255,
        lpips_squeeze: await noGrad(() => lpips.call(a, b)).item(),
      });
    });
  }
  for (const batch of [1, 2]) {
    await expectNoLeak(async () => {
      const done: number[] = [];
      const { models: [result], warnings, pictures, protocol } = await evaluate(
        [{ name: "small", model }],
        await open(),
        { lpips: [lpips], spaces, batch, onProgress: (now, all) => done.push(now, all) },
      );
      expect(done.slice(-2)).toEqual([count, count]);
      expect(pictures.map((path) => path.slice(folder.length + 1))).toEqual([
        "0.png",
        "1.png",
        "2.png",
        "3.png",
        "4.png",
      ]);
      for (const [i, row] of result.rows.entries()) {
        expect(Object.keys(row)).toEqual(Object.keys(values[i]));
        for (const [name, value] of Object.entries(values[i])) {
          expectClose([row[name]], [value], 1e-5 * Math.abs(value));
        }
      }
      const mean = values.reduce((sum, { psnr }) => sum + psnr, 0) / count;
      expectClose([result.metrics.psnr.mean], [mean], 1e-6);
      expect(result.metrics.psnr.low).toBeLessThan(mean);
      expect(result.metrics.psnr.high).toBeGreaterThan(mean);
      const { used, usage: share, perplexity, total } = usage.summary();
      expect(result.codebook).toEqual({ codes: 16, used, usage: share, perplexity, tokens: total });
      expect(result.bitsPerPixel).toBe(Math.log2(16) * (side / 2) ** 2 / side ** 2);
      const wanted = finish(frechetParts(moments[0], moments[1]));
      expectClose([result.frechet[0].distance], [wanted], 1e-4 * wanted);
      expect(result.frechet[0].isDeficient).toBe(true);
      expect(warnings).toEqual([
        "the Fréchet distance (squeeze) is of 5 pictures, but a covariance of 512 numbers needs 513 or more for full rank: " +
        "compare it only with distances of the same pictures",
      ]);
      expect(protocol.pictures).toBe("5 of 5, each compared with its own reconstruction");
      expect(result.faces).toBe(null);
      const worst = [...values].sort((a, b) => b.lpips_squeeze - a.lpips_squeeze);
      expectClose(result.worst.list.map(({ value }) => value), worst.map((row) => row.lpips_squeeze), 1e-5);
    });
  }
});

test("two models are compared picture by picture", async () => {
  const named = [{ name: "a", model }, { name: "b", model: other }, { name: "again", model }];
  const { models, differences } = await evaluate(named, await open(), { seed: 5 });
  const gaps = models[1].rows.map((row, i) => row.psnr - models[0].rows[i].psnr);
  expectClose([differences[0].psnr.mean], [gaps.reduce((a, b) => a + b) / count], 1e-9);
  expect(differences[0].psnr.low).toBeGreaterThanOrEqual(Math.min(...gaps) - 1e-9);
  expect(differences[1].psnr).toEqual({ mean: 0, low: 0, high: 0 });
});

test("pictures that cannot be read are in no number, and it is said", async () => {
  const broken = join(folder, "broken.png");
  await writeFile(broken, "no picture");
  try {
    const { warnings, pictures } = await evaluate([{ name: "small", model }], await open());
    expect([pictures.length, warnings]).toEqual([count, [
      "1 of the pictures could not be read and is in no number",
    ]]);
  } finally {
    await rm(broken);
  }
});

test("it stops when it is told to, and refuses what cannot be", async () => {
  await expectNoLeak(async () => {
    const controller = new AbortController();
    const options = { signal: controller.signal, onProgress: () => controller.abort(new Error("enough")) };
    await expect(evaluate([{ name: "small", model }], await open(), options)).rejects.toThrow("enough");
  });
  await expect(evaluate([], await open())).rejects.toThrow("evaluate: there are no models");
  await expect(evaluate([{ name: "small", model }], [] as never)).rejects.toThrow("expected an ImageDataset");
  await expect(evaluate([{ name: "none", model: {} as never }], await open())).rejects.toThrow(
    "expected a VQGAN",
  );
  const odd = await ImageDataset.open(folder, { size: 31, shuffle: false });
  await expect(evaluate([{ name: "small", model }], odd)).rejects.toThrow(
    "evaluate: pictures of 31 pixels do not fit small, which has a token for each 2",
  );
  await expect(evaluate([{ name: "small", model }], await open(), { batch: 0 })).rejects.toThrow(
    "evaluate: batch is 0, expected a whole number >= 1",
  );
});

test("results are a table, plain data and a sheet", async () => {
  const out = join(folder, "out");
  const named = [{ name: "<a & b>", model }, { name: "b", model: other }];
  const evaluation = await evaluate(named, await open());
  await writeEvaluation(out, evaluation);
  expect((await readdir(out)).sort()).toEqual([
    "evaluation.html",
    "evaluation.json",
    "worst-2.png",
    "worst.png",
  ]);
  const json = JSON.parse(await readFile(join(out, "evaluation.json"), "utf8"));
  expect(json.models[0].metrics.l1.mean).toBe(evaluation.models[0].metrics.l1.mean);
  expect(json.pictures[4].models[1].psnr).toBe(evaluation.models[1].rows[4].psnr);
  expect(json.models[0].worst).toMatchObject({ by: "l1" });
  const html = await readFile(join(out, "evaluation.html"), "utf8");
  expect(html).toContain("&#60;a &#38; b&#62;");
  expect(html).not.toContain("<a & b>");
  expect(html).toContain("data:image/png;base64,");
  const { width, height } = await readImage(join(out, "worst.png"));
  expect(width).toBe(4 * (side + 4) + 4);
  expect(height).toBeGreaterThan(3 * (side + 4));
  await rm(out, { recursive: true });
});

test("faces are counted as the face network compares them", async () => {
  const sheet = await readImage(fileURLToPath(new URL("../../fixtures/face/faces.png", import.meta.url)));
  const faces = await mkdtemp(join(tmpdir(), "tessera-faces-"));
  const shipped = await VQGAN.load(
    fileURLToPath(new URL("../../../models/faces.safetensors", import.meta.url)),
  );
  const network = await loadFaceNetwork();
  try {
    // a face, one that is not found, and the first one mirrored
    const parts = [0, 256].map((left) => cropPicture(sheet, left, 0, 128, 128));
    parts.push(flipPicture(parts[0]));
    for (const [i, part] of parts.entries()) await savePng(join(faces, `${i}.png`), part);
    const pictures = await ImageDataset.open(faces, { size: 128, shuffle: false });
    const { models: [result], protocol } = await evaluate([{ name: "shipped", model: shipped }], pictures, {
      faces: network,
    });
    const imagesOf = ({ pixels }: Picture) => tensor(toFloats(pixels), [1, 128, 128, 3]);
    const distanceOf = (a: Picture, b: Picture) =>
      asyncScope(async () => (await network.compare(imagesOf(a), imagesOf(b)))[0].distance);
    const distances: (number | null)[] = [];
    for (const part of [parts[0], parts[2]]) {
      const made = await asyncScope(async () => await shipped.reconstruct(imagesOf(part)).floats());
      distances.push(await distanceOf(part, toPictures(made, [1, 128, 128, 3])[0]));
    }
    const found = distances.filter((d) => d !== null), same = found.filter((d) => d < 0.6).length;
    const { strangers, median, ...counts } = result.faces!;
    expect(counts).toEqual({ found: 2, lost: 2 - found.length, same });
    expectClose([median], [found.length === 2 ? (found[0] + found[1]) / 2 : found[0] ?? NaN], 1e-6);
    expectClose([strangers], [(await distanceOf(parts[0], parts[2]))!], 1e-6);
    expect(result.rows[1]).toMatchObject({ identity: NaN, same_person: NaN, face_lost: NaN });
    expectClose([result.metrics.same_person.mean], [same / 2], 0);
    expect(result.frechet[0]).toMatchObject({ space: "face", pictures: found.length, isDeficient: true });
    expect(protocol.faces).toContain("each side found and aligned by itself");
  } finally {
    network.dispose();
    shipped.dispose();
    await rm(faces, { recursive: true });
  }
});
