// How a corpus is divided into shards, and that the spelling of paths does not matter for it.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, mkdtemp, realpath, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import process from "node:process";
import { Corpus } from "../../../data/pictures/shards.ts";
import { canonicalSource } from "../../../data/pictures/spelling.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await realpath(await mkdtemp(join(tmpdir(), "tessera-shards-")));
const faces = join(folder, "faces"), archives = join(folder, "archives");
await mkdir(join(faces, "sub"), { recursive: true });
await mkdir(archives);
const pictures = Array.from({ length: 200 }, (_, i) => join(faces, i % 2 ? "sub" : "", `${i}.png`));
for (const path of pictures) await writeFile(path, "");
const tars = Array.from({ length: 10 }, (_, i) => join(archives, `${i}.tar`));
for (const path of tars) await writeFile(path, "never opened");
await symlink(folder, join(folder, "link"));
await symlink(join(archives, "3.tar"), join(folder, "named.tar"));
afterAll(() => rm(folder, { recursive: true, force: true }));

const shards = (corpus: Corpus) => Array.from({ length: corpus.of }, (_, i) => [...corpus.shard(i + 1)]);

test("each picture and each archive is in one shard, and archives are dealt out evenly", async () => {
  const corpus = await Corpus.list([faces, ...tars, tars[2]], 4), all = shards(corpus);
  expect(all.flat().sort()).toEqual([...pictures, ...tars].sort());
  expect(corpus.repeated).toBe(1);
  expect(all.map((shard) => shard.filter((path) => path.endsWith(".tar")).length)).toEqual([3, 3, 2, 2]);
  for (const shard of all) expect(shard.length).toBeGreaterThan(30);
  for (const [i, shard] of all.entries()) {
    for (const path of shard) {
      expect(corpus.partOf(path.endsWith(".tar") ? `${path}/inside/1.jpg` : path)).toBe(i + 1);
    }
  }
  expect(corpus.partOf(join(faces, "none.png"))).toBe(null);
  expect(corpus.partOf(join(archives, "none.tar", "1.jpg"))).toBe(null);
  expect(shards(await Corpus.list([faces], 1))).toEqual([[...pictures].sort()]);
});

test("what is added later moves nothing: pictures of any name, and archives whose names come last", async () => {
  const before = await Corpus.list([faces, ...tars], 3);
  const added = join(faces, "0000.png"), last = join(archives, "90.tar");
  await writeFile(added, "");
  await writeFile(last, "");
  const after = await Corpus.list([last, ...tars.slice().reverse(), faces], 3);
  for (const path of [...pictures, ...tars]) expect(after.partOf(path)).toBe(before.partOf(path)!);
  expect([after.partOf(added), after.partOf(last)]).not.toContain(null);
  await rm(added);
  await rm(last);
});

test("a picture that is named beside its archive comes with the archive", async () => {
  const list = join(folder, "list.txt");
  await writeFile(list, `${tars[1]}/1.jpg\n${tars[1]}\n`);
  const corpus = await Corpus.list([list], 2);
  expect([shards(corpus).flat(), corpus.repeated]).toEqual([[tars[1]], 1]);
});

test("a folder, a file and a pattern have one spelling", async () => {
  const away = relative(process.cwd(), faces), through = join(folder, "link", "link", "faces");
  for (const same of [faces, `${faces}/`, `${faces}//sub/..`, away, `./${away}/`, through]) {
    expect([same, await canonicalSource(same)]).toEqual([same, faces]);
    expect(await canonicalSource(`${same}/**/*.png`)).toBe(join(faces, "**/*.png"));
    expect(await canonicalSource(`${same}/sub/1.png`)).toBe(join(faces, "sub", "1.png"));
  }
  const here = await realpath(process.cwd());
  for (const same of ["data", "./data/", join(here, "data"), "cli/../data"]) {
    expect(await canonicalSource(same)).toBe("data");
    expect(await canonicalSource(`${same}/*/*.{png,jpg}`)).toBe("data/*/*.{png,jpg}");
  }
  expect(await canonicalSource(".")).toBe(".");
  expect(await canonicalSource("*.png")).toBe("*.png");
  expect(await canonicalSource("/*.png")).toBe("/*.png");
  // the name of a link says what it is, that of its target may be a hash
  expect(await canonicalSource(join(folder, "link", "named.tar"))).toBe(join(folder, "named.tar"));
  expect(await canonicalSource(join(folder, "link", "named.tar/a/1.jpg"))).toBe(
    join(folder, "named.tar/a/1.jpg"),
  );
  expect(await canonicalSource("nowhere/x")).toBe("nowhere/x");
});
