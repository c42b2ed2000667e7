// A corpus that is encoded in shards: which worker encodes what, and what verify, stats, merge and split say about the files.
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { openTokens, type TokenRecord } from "../../data/index.ts";
import { type Answer, commandFixture, tessera } from "../support/commands.ts";
import { tar } from "../support/tarfile.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, faces, model } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));
const to = (...names: string[]) => join(folder, ...names);
const rowsOf = async (path: string): Promise<TokenRecord[]> =>
  await Array.fromAsync((await openTokens(path)).records());
const filesIn = async (path: string) => (await rowsOf(path)).map(({ file }) => file.slice(folder.length + 1));

/** Runs a command as a launcher starts it. */
async function launchedAs(variables: Readonly<Record<string, string>>, ...words: string[]): Promise<Answer> {
  Object.assign(process.env, variables);
  try {
    return await tessera(...words);
  } finally {
    for (const name of Object.keys(variables)) delete process.env[name];
  }
}
const rank = (rank: number, size: number) => ({ PMI_RANK: `${rank}`, PMI_SIZE: `${size}` });

const archive = async (name: string, pictures: readonly string[]): Promise<string> => {
  const data = await readFile(join(faces, "face_00000.png")), path = to("tars", `${name}.tar`);
  await mkdir(to("tars"), { recursive: true });
  await writeFile(
    path,
    tar([...pictures.map((name) => ({ name, data })), { name: "notes.json", data: "{}" }]),
  );
  return path;
};
let tars: string[] = [];
beforeAll(async () => {
  tars = [
    await archive("a", ["1.png", "2.png"]),
    await archive("b", ["1.png"]),
    await archive("c", ["1.png"]),
  ];
});

describe("encode as one of many workers", () => {
  const encode = (
    out: string,
    ...words: string[]
  ) => ["encode", "-m", model, "--size", "8", "-o", to(out), ...words];

  test("takes its shard from the launcher, of whole archives, each opened once, and skips it when it is finished", async () => {
    const words = encode("mine.parquet", ...tars), path = to("mine-1-of-2.parquet");
    const first = await launchedAs(rank(0, 2), ...words);
    expect(first.err.match(/left out in .*: 1 file: 1 \.json/g)?.length).toBe(2); // a and c, each once
    expect(await filesIn(path)).toEqual(["tars/a.tar/1.png", "tars/a.tar/2.png", "tars/c.tar/1.png"]);
    expect((await launchedAs(rank(0, 2), ...words)).out).toBe(
      `${path} is finished: 3 pictures by the same model (--force encodes again)\n`,
    );
    const other = await launchedAs(rank(1, 3), ...words);
    expect([other.code, other.err]).toEqual([
      2,
      `tessera: ${path} is one of 2 shards, but this call divides the pictures into 3 (PMI_RANK=1, PMI_SIZE=3): ` +
      "say --shards 2 to go on, or give the tokens another name\n",
    ]);
    expect((await launchedAs(rank(1, 2), ...encode("mine.parquet", ...tars))).code).toBe(0);
    expect(await filesIn(to("mine-2-of-2.parquet"))).toEqual(["tars/b.tar/1.png"]);
    const beyond = await launchedAs(rank(2, 3), ...encode("mine.parquet", "--shards", "2", ...tars));
    expect([beyond.code, beyond.out]).toEqual([
      0,
      "nothing to do: there are only 2 shards (PMI_RANK=2, PMI_SIZE=3)\n",
    ]);
  });

  test("the command line comes before the launcher, and a worker goes through several shards", async () => {
    await launchedAs(rank(0, 2), ...encode("cmd.jsonl", "--shard", "2/3", ...tars));
    expect(await filesIn(to("cmd-2-of-3.jsonl"))).toEqual(["tars/b.tar/1.png"]);
    const all = await launchedAs(rank(0, 2), ...encode("cmd.jsonl", "--shards", "3", ...tars));
    expect(all.out).toContain("encode 1/3 100% 2/2");
    expect((await readdir(folder)).filter((name) => name.startsWith("cmd")).sort()).toEqual([
      ...["cmd-1-of-3.jsonl", "cmd-2-of-3.jsonl", "cmd-3-of-3.jsonl"],
    ]);
    const alone = await tessera(...encode("cmd.jsonl", "--shards", "3", ...tars));
    expect(alone.out.match(/is finished/g)?.length).toBe(3);
  });

  test("one job of an array, started again alone, does not take itself for the only one", async () => {
    const job = (id: number, count: number, min: number) => ({
      ...{ SLURM_ARRAY_TASK_ID: `${id}`, SLURM_ARRAY_TASK_COUNT: `${count}`, SLURM_ARRAY_TASK_MIN: `${min}` },
    });
    for (const id of [1, 2]) {
      expect((await launchedAs(job(id, 2, 1), ...encode("array.tsv", ...tars))).code).toBe(0);
    }
    await rm(to("array-2-of-2.tsv"));
    const again = await launchedAs(job(2, 1, 2), ...encode("array.tsv", ...tars));
    expect([again.code, again.err]).toEqual([
      2,
      expect.stringContaining("this call divides the pictures into 1 (SLURM_"),
    ]);
    const told = await launchedAs(job(2, 1, 2), ...encode("array.tsv", "--shards", "2", ...tars));
    expect([told.code, (await rowsOf(to("array-2-of-2.tsv"))).length]).toEqual([0, 1]);
    const wrong = await launchedAs({ PMI_RANK: "2", PMI_SIZE: "2" }, ...encode("array.tsv", ...tars));
    expect([wrong.code, wrong.err]).toEqual([
      2,
      "tessera: PMI_RANK=2, PMI_SIZE=2: process 2, counted from 0, is not one of 2; say which shard this call encodes, as " +
      "in --shard 2/8\n",
    ]);
  });

  test("grows by archives whose names come last, and refuses those that would move others", async () => {
    const shard = (n: number, ...named: string[]) =>
      tessera(...encode("grow.parquet", "--shard", `${n}/2`, ...named));
    for (const n of [1, 2]) await shard(n, ...tars);
    const later = await archive("d", ["1.png"]), before = await archive("aa", ["1.png"]);
    expect((await shard(2, later, ...tars.toReversed())).out).toContain("continuing: 1 picture in");
    expect(await filesIn(to("grow-2-of-2.parquet"))).toEqual(["tars/b.tar/1.png", "tars/d.tar/1.png"]);
    expect((await openTokens(to("grow-2-of-2.parquet"))).header?.source).toEqual([
      later,
      ...tars.toReversed(),
    ]);
    const moved = await shard(1, before, ...tars, later);
    expect([moved.code, moved.err]).toEqual([
      1,
      expect.stringContaining(
        `grow-1-of-2.parquet has ${tars[2]}/1.png, which belongs to shard 2 of 2 now that other`,
      ),
    ]);
    const unlike = await tessera("tokens", "verify", to("grow-1-of-2.parquet"), to("grow-2-of-2.parquet"));
    expect(unlike.err).toContain("it was made of other pictures than");
    expect((await shard(1, ...tars, later)).code).toBe(0);
    await rm(before);
    await rm(later);
  });

  test("opens only the archives of its shard, and may have pictures that cannot be read, and none else", async () => {
    const damaged = await archive("broken", ["1.png"]);
    await writeFile(damaged, "no archive");
    const [first, second] = [1, 2].map((n) => encode("open.tsv", "--shard", `${n}/2`, tars[0], damaged));
    expect((await tessera(...first)).code).toBe(0);
    expect((await tessera(...second)).err).toContain(damaged);
    await writeFile(damaged, tar([{ name: "x.png", data: "no picture" }]));
    const empty = await tessera(...second);
    expect([empty.code, empty.err]).toEqual([0, expect.stringContaining("1 picture of 1 skipped")]);
    expect(await rowsOf(to("open-2-of-2.tsv"))).toEqual([]);
    await rm(damaged);
  });

  test("the spelling of the sources does not matter", async () => {
    await symlink(folder, to("link"));
    const spelt = [faces, `${faces}/`, to("link", "faces"), to(".", "faces", "..", "faces")];
    for (const [i, source] of spelt.entries()) {
      const { code, out } = await tessera(...encode("spelt.parquet", "--shards", "2", source));
      expect([code, out.match(/is finished/g)?.length ?? 0]).toEqual([0, i === 0 ? 0 : 2]);
    }
    const one = [...await filesIn(to("spelt-1-of-2.parquet")), ...await filesIn(to("spelt-2-of-2.parquet"))];
    expect(one.sort()).toEqual((await readdir(faces)).sort().map((name) => `faces/${name}`));
  });

  test("grids of shards are in folders of their own", async () => {
    await tessera(...encode("grids.jsonl", "--shards", "2", "--grids", ...tars));
    expect((await readdir(to("grids-1-of-2"), { recursive: true })).sort()).toEqual([
      ...["a.tar", "a.tar/1.tokens.png", "a.tar/2.tokens.png", "c.tar", "c.tar/1.tokens.png"],
    ]);
    expect(await readdir(to("grids-2-of-2"))).toEqual(["1.tokens.png"]);
  });
});

describe("tessera tokens", () => {
  const shards = [1, 2, 3].map((n) => to(`whole-${n}-of-3.parquet`));
  beforeAll(async () => {
    const words = ["encode", "-m", model, "--size", "8", "-o", to("whole.parquet")];
    await tessera(...words, "--shards", "3", faces, ...tars);
    await tessera("encode", "-m", model, "--size", "8", "-o", to("calm.jsonl"), faces, ...tars);
  });
  const byFile = (a: TokenRecord, b: TokenRecord) => a.file < b.file ? -1 : 1;

  test("verify counts the pictures, and names what is missing", async () => {
    const counts = await Promise.all(shards.map(async (path) => (await rowsOf(path)).length));
    const { code, out, err } = await tessera("tokens", "verify", to("whole-*-of-3.parquet"));
    expect([code, err]).toEqual([0, ""]);
    expect(out).toMatch(/^made by tiny\.safetensors \(weights [0-9a-f]{16}\), 16 codes$/m);
    expect(out).toContain(
      `3 files, complete: 9 pictures, ${Math.min(...counts)} to ${Math.max(...counts)} in each, none twice\n`,
    );
    const missing = await tessera("tokens", "verify", shards[0], shards[2]);
    expect([missing.code, missing.err]).toEqual([
      1,
      `tessera: ${shards[0]}: shard 2 of 3 is missing; encode them, or name their files too\n`,
    ]);
  });

  test("merge gives the rows that one call of encode gives, in any format, and encode goes on with them", async () => {
    const calm = (await rowsOf(to("calm.jsonl"))).sort(byFile);
    for (const ending of ["parquet", "jsonl", "tsv"]) {
      const out = to("merged", `all.${ending}`);
      const { code, out: said } = await tessera("tokens", "merge", "-o", out, ...shards);
      expect([code, said]).toEqual([0, `${out}: 9 pictures from 3 files\n`]);
      expect((await rowsOf(out)).sort(byFile)).toEqual(calm);
      expect((await openTokens(out)).header).toEqual((await openTokens(to("calm.jsonl"))).header);
      const again = await tessera("encode", "-m", model, "--size", "8", "-o", out, faces, ...tars);
      expect(again.out).toContain("is finished: 9 pictures");
      expect((await tessera("tokens", "merge", "-o", out, ...shards)).err).toContain("it exists already");
      expect((await tessera("tokens", "merge", "--force", "-o", out, ...shards)).code).toBe(0);
    }
    const itself = await tessera("tokens", "merge", "--force", "-o", shards[1], ...shards);
    expect([itself.code, itself.err]).toEqual([
      2,
      expect.stringContaining(`would replace ${shards[1]}, of which it is made`),
    ]);
    expect((await readdir(to("merged"))).sort()).toEqual(["all.jsonl", "all.parquet", "all.tsv"]);
  });

  test("what is wrong is found before anything is written, or at the end, and then nothing is", async () => {
    const twice = to("twice.parquet"), none = to("nothing");
    await tessera("tokens", "merge", "-o", twice, ...shards);
    for (
      const words of [["merge", "-o", to("nothing", "x.tsv")], [
        "split",
        "--shards",
        "2",
        "-o",
        to("nothing", "x.tsv"),
      ]]
    ) {
      const { code, err } = await tessera("tokens", ...words, twice, to("calm.jsonl"));
      expect([code, err]).toEqual([1, expect.stringContaining("9 pictures are there twice; ")]);
      expect(await readdir(none).catch(() => [])).toEqual([]);
    }
  });

  test("split divides evenly, in order, and merge puts it together again", async () => {
    const from = to("calm.jsonl"), parts = [1, 2, 3, 4].map((n) => to("parts", `p-${n}-of-4.tsv`));
    const { code, out } = await tessera("tokens", "split", "--shards", "4", "-o", to("parts", "p.tsv"), from);
    expect([code, out]).toEqual([0, `${parts[0]} to 4: 9 pictures, 2 or one more in each\n`]);
    const rows = await Promise.all(parts.map(rowsOf));
    expect(rows.map(({ length }) => length)).toEqual([2, 2, 2, 3]);
    expect(rows.flat()).toEqual(await rowsOf(from));
    expect((await openTokens(parts[2])).header?.shard).toBe("3/4");
    await tessera("tokens", "merge", "-o", to("joined.jsonl"), ...parts.toReversed());
    expect(await readFile(to("joined.jsonl"))).toEqual(await readFile(from));
    const few = await tessera("tokens", "split", "--shards", "10", from);
    expect([few.code, few.err]).toEqual([2, "tessera: --shards 10: there are only 9 pictures\n"]);
    expect((await tessera("tokens", "split", "--shards", "2", ...parts)).err).toContain(
      "several files need a name",
    );
    expect((await tessera("tokens", "split", "--shards", "4", "-o", to("parts", "p.tsv"), from)).err)
      .toContain(
        "it exists already, and so do 3 others",
      );
  });

  test("stats count by model, and need no complete set", async () => {
    const { weights } = (await openTokens(to("calm.jsonl"))).header!;
    const rows = await rowsOf(to("calm.jsonl")), tokens = rows.flatMap(({ encoding }) => encoding);
    const counts = [...Map.groupBy(tokens, (token) => token).values()].map(({ length }) =>
      length / tokens.length
    );
    const perplexity = Math.exp(-counts.reduce((sum, p) => sum + p * Math.log(p), 0));
    const { code, out } = await tessera("tokens", "stats", to("calm.jsonl"));
    expect([code, out]).toEqual([
      0,
      `model tiny.safetensors (weights ${weights.slice(0, 16)}), range signed, taming\n` +
      "  9 pictures in 1 file, 0 with a caption\n  grids: 4x4 (all)\n" +
      `  144 tokens: ${counts.length} of 16 codes used (${
        (100 * counts.length / 16).toFixed(1)
      } %), perplexity ` +
      `${perplexity.toFixed(1)} (${Math.log2(perplexity).toFixed(2)} bits per token)\n`,
    ]);
    await tessera("encode", "-m", model, "--range", "unit", "--size", "0", "-o", to("unit.tsv"), faces);
    const two = await tessera("tokens", "stats", shards[0], shards[1], to("unit.tsv"));
    expect(two.out).toMatch(
      /range unit.*\n {2}5 pictures[^]*range signed.*\n {2}\d pictures in 2 files \(2 of 3 shards\)/,
    );
    expect((await tessera("tokens", "verify", ...shards, to("unit.tsv"))).err).toContain(
      "was made in another way than",
    );
  });
});
