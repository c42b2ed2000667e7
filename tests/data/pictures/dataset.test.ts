// Finding pictures, the seeded order, reading ahead, skipping what cannot be read, and resuming exactly.
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import sharp from "sharp";
import { type Batch, type DatasetOptions, ImageDataset } from "../../../data/pictures/dataset.ts";
import { listImages } from "../../../data/pictures/list.ts";
import { Sampler } from "../../../data/pictures/sampler.ts";

let folder = "";
const count = 11;

/** A picture whose every pixel says which picture, column and row it is. */
async function numbered(i: number): Promise<Uint8Array> {
  const width = 24, height = 20;
  const pixels = Uint8Array.from(
    { length: width * height * 3 },
    (_, at) => [i * 20, Math.floor(at / 3) % width * 10, Math.floor(at / 3 / width) * 10][at % 3],
  );
  return await sharp(pixels, { raw: { width, height, channels: 3 } }).png().toBuffer();
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-dataset-"));
  await mkdir(join(folder, "good", "deep"), { recursive: true });
  await mkdir(join(folder, "mixed"));
  await mkdir(join(folder, "empty"));
  for (let i = 0; i < count; i++) {
    const bytes = await numbered(i), name = `p${String(i).padStart(2, "0")}.png`;
    await writeFile(join(folder, "good", i < 8 ? name : join("deep", name)), bytes);
    await writeFile(join(folder, "mixed", name), i % 4 === 1 ? bytes.subarray(0, i === 1 ? 0 : 60) : bytes);
  }
  await writeFile(join(folder, "good", "notes.md"), "no picture");
  await writeFile(join(folder, "good", ".hidden.png"), "no picture");
  await writeFile(join(folder, "good", "list.txt"), "p03.png\r\n\n  deep/p09.png\np00.png\n");
  await writeFile(join(folder, "wrong.txt"), "nowhere/p03.png\n");
  await writeFile(join(folder, "blank.txt"), "\n \n");
  await symlink(join(folder, "good"), join(folder, "good", "deep", "around")).catch(() => {});
});
afterAll(async () => {
  await rm(folder, { recursive: true, force: true });
});

async function take(batches: AsyncGenerator<Batch>, number: number): Promise<Batch[]> {
  const taken: Batch[] = [];
  while (taken.length < number) {
    const { value, done } = await batches.next();
    if (done) break;
    taken.push(value);
  }
  await batches.return(undefined);
  return taken;
}

function open(name: string, options: Partial<DatasetOptions> = {}): Promise<ImageDataset> {
  return ImageDataset.open(join(folder, name), { size: 16, seed: 5, onSkip: () => {}, ...options });
}

describe("listImages", () => {
  test("a folder with all below it, in name order, each once", async () => {
    const names = (await listImages(join(folder, "good"))).map((path) => basename(path));
    expect(names.length).toBe(count);
    expect(names.slice(0, 4)).toEqual(["p08.png", "p09.png", "p10.png", "p00.png"]); // "deep" is before "p00"
  });

  test("a glob, a list in its own order, one picture, several sources", async () => {
    const deep = await listImages(join(folder, "good", "**", "p0[89].png"));
    expect(deep.map((path) => basename(path))).toEqual(["p08.png", "p09.png"]);
    const listed = await listImages(join(folder, "good", "list.txt"));
    expect(listed.map((path) => basename(path))).toEqual(["p03.png", "p09.png", "p00.png"]);
    const one = join(folder, "good", "p02.png");
    expect(await listImages([one, join(folder, "good", "list.txt")])).toEqual([one, ...listed]);
  });

  test("nothing found says what was looked for", async () => {
    await expect(listImages(join(folder, "empty"))).rejects.toThrow("looked for .jpg, .jpeg, .png");
    await expect(listImages(join(folder, "absent"))).rejects.toThrow("there is no file or folder");
    await expect(listImages(join(folder, "*.gif"))).rejects.toThrow("no file matches the pattern");
    await expect(listImages(join(folder, "wrong.txt"))).rejects.toThrow(
      "names nowhere/p03.png, which is neither in",
    );
    await expect(listImages(join(folder, "blank.txt"))).rejects.toThrow("names no pictures");
  });
});

describe("Sampler", () => {
  test("every epoch visits all once, in another order; a seed always gives the same", () => {
    const first = new Sampler(50, { seed: 9 }), again = new Sampler(50, { seed: 9 });
    const orders = [0, 1].map(() => Array.from({ length: 50 }, () => first.next().index));
    for (const order of orders) {
      expect([...order].sort((a, b) => a - b)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    }
    expect(orders[0]).not.toEqual(orders[1]);
    expect(Array.from({ length: 50 }, () => again.next().index)).toEqual(orders[0]);
    const other = new Sampler(50, { seed: 10 });
    expect(Array.from({ length: 50 }, () => other.next().index)).not.toEqual(orders[0]);
  });

  test("a saved place continues exactly, in the middle and over the end of an epoch", () => {
    const straight = new Sampler(7, { seed: 3 });
    const visits = Array.from({ length: 30 }, () => straight.next());
    for (const at of [0, 3, 7, 13, 14]) {
      const before = new Sampler(7, { seed: 3 });
      for (let i = 0; i < at; i++) before.next();
      const after = new Sampler(7, { seed: 3 });
      after.restore(JSON.parse(JSON.stringify(before.state())));
      expect(Array.from({ length: 30 - at }, () => after.next())).toEqual(visits.slice(at));
    }
  });

  test("in order without shuffling; refuses another set or seed", () => {
    const sampler = new Sampler(3, { shuffle: false });
    expect([0, 1, 2, 3].map(() => sampler.next().index)).toEqual([0, 1, 2, 0]);
    const state = new Sampler(4, { seed: 1 }).state();
    expect(() => new Sampler(5, { seed: 1 }).restore(state)).toThrow(
      "saved with 4 pictures and there are 5 now",
    );
    expect(() => new Sampler(4, { seed: 2 }).restore(state)).toThrow("saved with seed 1, not 2");
    expect(() => new Sampler(0)).toThrow("at least 1");
  });
});

describe("ImageDataset", () => {
  test("full batches over the ends of epochs, or all pictures once with a smaller last batch", async () => {
    const set = await open("good");
    const endless = await take(set.batches(4), 6);
    expect(endless.map(({ shape }) => shape[0])).toEqual([4, 4, 4, 4, 4, 4]);
    expect(endless.map(({ epoch }) => epoch)).toEqual([0, 0, 0, 1, 1, 1]);
    const once = await take(
      (await open("good", { shuffle: false, range: "unit" })).batches(4, { epochs: 1 }),
      9,
    );
    expect(once.map(({ shape }) => shape)).toEqual([[4, 16, 16, 3], [4, 16, 16, 3], [3, 16, 16, 3]]);
    expect(once.flatMap(({ indices }) => indices)).toEqual(Array.from({ length: count }, (_, i) => i));
    const { pixels, pictures, paths } = once[1];
    expect(basename(paths[0])).toBe("p01.png");
    expect(Math.abs(pixels[0] * 255 - 20) < 1e-4).toBe(true);
    expect(pictures[0].pixels[0]).toBe(20);
    expect(pixels[2 * 16 * 16 * 3] * 255).toBeCloseTo(60, 3);
  });

  test("crops and flips are the same whatever is read ahead, and after resuming", async () => {
    const options: Partial<DatasetOptions> = { crop: "random", flip: true };
    const straight = await take((await open("good", options)).batches(3), 9);
    for (const prefetch of [1, 2, 40]) {
      const first = await open("good", { ...options, prefetch });
      const before = await take(first.batches(3), 4);
      expect(first.state()).toEqual(before[3].state);
      const second = await open("good", { ...options, prefetch });
      second.restore(JSON.parse(JSON.stringify(first.state())));
      const resumed = [...before, ...await take(second.batches(3), 5)];
      expect(resumed.map(({ paths }) => paths)).toEqual(straight.map(({ paths }) => paths));
      resumed.forEach(({ pixels }, i) => expect(pixels).toEqual(straight[i].pixels));
    }
    // The same picture differs between epochs, so the crop and the flip did something.
    const set = await open("good", options);
    const seen = await Promise.all([0, 1, 2, 3, 4, 5].map((epoch) => set.read(0, epoch)));
    expect(new Set(seen.map(({ pixels }) => pixels.join())).size > 2).toBe(true);
    expect(new Set(seen.map(({ pixels }) => pixels[1] < pixels[4])).size).toBe(2);
  });

  test("unreadable pictures are reported once, replaced, and counted", async () => {
    const reported: string[] = [];
    const set = await open("mixed", {
      onSkip: (path, reason) => reported.push(`${basename(path)}: ${reason}`),
    });
    const batches = await take(set.batches(4), 8);
    expect(batches.every(({ shape }) => shape[0] === 4)).toBe(true);
    expect(reported.length).toBe(3);
    expect([...reported].sort()[0]).toBe("p01.png: the file is empty (0 bytes)");
    const bad = ["p01.png", "p05.png", "p09.png"];
    expect(batches.flatMap(({ paths }) => paths).some((path) => bad.includes(basename(path)))).toBe(false);
    expect(set.skippedSummary()).toContain("3 of 11 pictures could not be read and were skipped:");
    // A resumed run has not met them yet, and still goes the same way.
    const again = await open("mixed");
    again.restore(batches[2].state);
    const rest = await take(again.batches(4), 5);
    expect(rest.map(({ paths }) => paths)).toEqual(batches.slice(3).map(({ paths }) => paths));
    const once = await take((await open("mixed")).batches(4, { epochs: 1 }), 9);
    expect(once.map(({ shape }) => shape[0])).toEqual([4, 4]);
    expect((await open("good")).skippedSummary()).toBe(null);
  });

  test("stops when nothing can be read, even with doubled names", async () => {
    const bad = join(folder, "mixed", "p01.png");
    const set = new ImageDataset([bad, bad, bad], { size: 16, onSkip: () => {} });
    await expect(take(set.batches(2), 1)).rejects.toThrow("none of the 3 pictures can be read");
    await expect(take((await open("good")).batches(0), 1)).rejects.toThrow(
      "batches: the batch size is 0, expected a whole number >= 1",
    );
  });

  test("reads ahead while the caller is busy", async () => {
    const set = await open("good", { prefetch: 6 });
    let started = 0, ended = 0;
    const read = set.read.bind(set);
    set.read = (index, epoch) => {
      started++;
      return read(index, epoch).finally(() => ended++);
    };
    const batches = set.batches(1);
    await batches.next();
    expect(started).toBe(6);
    await batches.next();
    expect(started).toBe(7);
    await batches.return(undefined);
    expect(ended).toBe(7); // nothing goes on behind the caller's back
  });
});
