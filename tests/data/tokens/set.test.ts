// Several token files as one: what is refused, and that rows come in order.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtemp, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  checkTogether,
  eachRecord,
  openFiles,
  type TokenHeader,
  type TokenRecord,
} from "../../../data/index.ts";
import { header, write } from "../../support/token_files.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-set-"));
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);
const row = (file: string, first = 0): TokenRecord => ({
  ...{ file, caption: null, encoding: [first, 1, 2, 3, 4, 5], grid: [2, 3] as const },
});

/** Writes shards with these pictures, in the formats in turn. */
async function shards(
  name: string,
  pictures: readonly (readonly string[])[],
  changes: Partial<TokenHeader> = {},
) {
  const endings = ["parquet", "jsonl", "tsv"], paths: string[] = [];
  for (const [i, files] of pictures.entries()) {
    const path = at(`${name}-${i + 1}-of-${pictures.length}.${endings[i % 3]}`);
    await write(
      path,
      { ...header, ...changes, shard: `${i + 1}/${pictures.length}` },
      files.map((file) => row(file, i)),
    );
    paths.push(path);
  }
  return paths;
}

/** Opens, checks and reads all. */
async function read(...paths: string[]): Promise<string[]> {
  const files = await openFiles(paths);
  await checkTogether(files);
  return (await Array.fromAsync(eachRecord(files))).map(({ file }) => file);
}

describe("a set of token files", () => {
  test("has the rows of all shards in their order, also of empty ones and of other corpora", async () => {
    const paths = await shards("all", [["c", "a"], [], ["b"], ["d"]]);
    expect(await read(...paths.toReversed())).toEqual(["c", "a", "b", "d"]);
    const others = await shards("others", [["y"], ["z"]], { source: ["more"] });
    const alone = at("alone.tsv");
    await write(alone, { ...header, source: ["third"] }, [row("x")]);
    expect((await read(...paths, ...others, alone)).sort()).toEqual(["a", "b", "c", "d", "x", "y", "z"]);
  });

  test("names the shards that are missing, not finished, there twice, or of other pictures", async () => {
    const paths = await shards("gaps", [["a"], ["b"], ["c"], ["d"]]);
    await expect(read(paths[0], paths[3])).rejects.toThrow(
      `${paths[0]}: 2 shards of 4 are missing: 2, 3; encode them, or name their files too`,
    );
    await expect(read(...paths.slice(1))).rejects.toThrow("shard 1 of 4 is missing");
    await expect(read(...paths, paths[2])).rejects.toThrow(`it is ${paths[2]}, which was given already`);
    await symlink(paths[2], at("same.tsv"));
    await expect(read(...paths, at("same.tsv"))).rejects.toThrow("which was given already");
    await writeFile(at("copy.tsv"), await readFile(paths[2]));
    await expect(read(...paths, at("copy.tsv"))).rejects.toThrow(`it is shard 3 of 4, and so is ${paths[2]}`);

    await writeFile(at("gaps-2-of-4.parquet.partial"), "");
    await expect(read(paths[0], paths[2], paths[3])).rejects.toThrow(
      `${at("gaps-2-of-4.parquet")}: it is not finished: there is ${at("gaps-2-of-4.parquet.partial")}`,
    );
    const [, second] = await shards("begun", [["a"], ["b"]]);
    await writeFile(`${second}.partial`, "");
    await expect(read(at("begun-1-of-2.parquet"), second)).rejects.toThrow(
      `${second}: it is not finished: there is`,
    );
    const same = await shards("grown", [["a"], ["b"]]);
    await write(same[1].replace("grown", "other"), { ...header, source: ["a", "b"], shard: "2/2" }, [
      row("b"),
    ]);
    await expect(read(same[0], same[1].replace("grown", "other"))).rejects.toThrow(
      "it was made of other pictures than",
    );
  });

  test("refuses other models and settings, and files of other programs", async () => {
    const [one, two] = await shards("ways", [["a"], ["b"]]), other = at("other.jsonl");
    const cases: readonly [Partial<TokenHeader>, string][] = [
      [{ weights: "cd34", model: "new.ckpt" }, "the weights of last.ckpt here, of new.ckpt there"],
      [{ range: "unit" }, "range signed here, unit there"],
      [{ preprocessing: "some" }, "preprocessing none here, some there"],
      [{ grid: null }, "grid [2,3] here, null there"],
    ];
    for (const [changes, message] of cases) {
      await rm(other, { force: true });
      await write(other, { ...header, ...changes }, [row("c")]);
      await expect(read(one, two, other)).rejects.toThrow(
        `${one}: it was made in another way than ${other} (${message}); encode both alike`,
      );
    }
    await writeFile(other, `{"file":"a","encoding":[1,2,3,4]}\n`);
    await expect(read(other)).rejects.toThrow("it has no header, so another program made it");
    await rm(other);
    await write(other, { ...header, shard: "3/2" }, [row("c")]);
    await expect(read(other)).rejects.toThrow('its header says that it is shard "3/2"');
  });

  test("names a picture that is there twice, and counts them", async () => {
    const many = Array.from({ length: 3000 }, (_, i) => `${i}`); // more than the list of hashes begins with
    const paths = await shards("twice", [many, ["x", "7"]]);
    await expect(read(...paths)).rejects.toThrow(
      `${paths[1]}: the picture 7 is in ${paths[0]} too; leave one of them out`,
    );
    const three = await shards("three", [["a", "b", "a"], ["b", "c", "b"]]);
    await expect(read(...three)).rejects.toThrow(`${three[0]}: 3 pictures are there twice; `);
    await expect(read(...three)).rejects.toThrow("the picture a is in it twice");
  });

  test("refuses a token outside the vocabulary, and a file that is cut off", async () => {
    const path = at("high.jsonl"), cut = at("cut.jsonl");
    await writeFile(path, `${JSON.stringify({ ...header, vocabulary: 5 })}\n${JSON.stringify(row("a"))}\n`);
    await expect(read(path)).rejects.toThrow("token 5 at place 5 of a is not in 0..4");
    for (const ending of ["jsonl", "tsv", "parquet"]) {
      const whole = at(`cut.${ending}`);
      await write(whole, header, ["a", "b", "c"].map((file) => row(file)));
      await truncate(whole, (await readFile(whole)).length - 9);
      await expect(read(whole)).rejects.toThrow(whole);
    }
    expect((await readFile(cut)).length).toBeGreaterThan(0);
  });
});
