// Batches of pictures: reading ahead, skipping unreadable pictures, and resuming exactly.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type Batch, type DatasetOptions, ImageDataset } from "../../../data/pictures/dataset.ts";
import { numberedPictures, pictureCount as count } from "../../support/pictures.ts";

let folder = "";

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tessera-dataset-"));
  await numberedPictures(folder);
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

/** Copies the good pictures, without the link that leads around. */
async function copied(name: string): Promise<string> {
  const to = join(folder, name);
  await cp(join(folder, "good"), to, { recursive: true });
  await rm(join(to, "deep", "around"), { force: true });
  return to;
}

function open(name: string, options: Partial<DatasetOptions> = {}): Promise<ImageDataset> {
  return ImageDataset.open(join(folder, name), { size: 16, seed: 5, onSkip: () => {}, ...options });
}

setDefaultTimeout(60_000); // Bun gives a test five seconds, and pictures that cannot be read are waited for

describe("ImageDataset", () => {
  test("full batches across the ends of epochs, or all pictures once with a smaller last batch", async () => {
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

  test("crops and flips do not depend on reading ahead or on resuming", async () => {
    const options: Partial<DatasetOptions> = {
      crop: "random",
      flip: true,
      augment: { hue: 60, background: 0.5, scale: 1.5 },
    };
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
    // The same picture differs between epochs, so the crops and flips have an effect.
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
    // A resumed run has not seen the unreadable pictures yet, but still takes the same pictures.
    const again = await open("mixed");
    again.restore(batches[2].state);
    const rest = await take(again.batches(4), 5);
    expect(rest.map(({ paths }) => paths)).toEqual(batches.slice(3).map(({ paths }) => paths));
    const once = await take((await open("mixed")).batches(4, { epochs: 1 }), 9);
    expect(once.map(({ shape }) => shape[0])).toEqual([4, 4]);
    expect((await open("good")).skippedSummary()).toBe(null);
  });

  test("once() reads every picture from the first on, and an unreadable one at the end changes nothing", async () => {
    const last = await copied("last");
    await writeFile(join(last, "z.png"), "");
    const set = await open("last", { shuffle: false, onSkip: () => {} });
    for (let pass = 0; pass < 3; pass++) {
      const read = await take(set.once(4), 9);
      expect(read.flatMap(({ indices }) => indices)).toEqual(Array.from({ length: count }, (_, i) => i));
    }
    expect(set.state()).toMatchObject({ epoch: 0, position: 0 });
    for (let epoch = 0; epoch < 3; epoch++) {
      const read = await take(set.batches(4, { epochs: 1 }), 9);
      expect(read.map(({ shape, epoch }) => [shape[0], epoch])).toEqual([[4, epoch], [4, epoch], [3, epoch]]);
    }
  });

  test("a picture is tried again: at once, and in the next epoch", async () => {
    const path = join(await copied("busy"), "deep", "p08.png"); // the first in the list
    const bytes = await readFile(path);
    await writeFile(path, bytes.subarray(0, 60)); // it is being copied
    const set = await open("busy", { shuffle: false, onSkip: (name) => skipped.push(name) });
    const skipped: string[] = [];
    setTimeout(() => writeFile(path, bytes), 100);
    const [first] = await take(set.once(3), 1);
    expect([first.indices, skipped]).toEqual([[0, 1, 2], []]);

    await rm(path);
    expect((await take(set.once(3), 1))[0].indices).toEqual([1, 2, 3]);
    expect(set.skippedSummary()).toBe(
      `1 of 11 pictures could not be read and were skipped:\n  ${path}: there is no such file`,
    );
    await writeFile(path, bytes);
    expect((await take(set.once(3), 1))[0].indices).toEqual([0, 1, 2]);
    expect([skipped, set.skippedSummary()]).toEqual([[path], null]);
  });

  test("waits only for the first pictures of a folder that is gone", async () => {
    await copied("gone");
    const set = await open("gone", { prefetch: 1 });
    const batches = set.batches(1);
    await batches.next();
    await rm(join(folder, "gone"), { recursive: true });
    let waits = 0;
    const { read } = set, failing = new Set<number>();
    set.read = async (index, epoch) => {
      if (failing.has(index)) waits++; // tried again
      failing.add(index);
      return await read.call(set, index, epoch);
    };
    await expect(take(batches, 50)).rejects.toThrow(
      /none of the 11 pictures can be read; .* there is no such file/,
    );
    expect(waits).toBeLessThan(8); // two for each of the first two, and those that a second epoch begins with
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
    expect(ended).toBe(7); // no work is left running in the background
  });
});
