// Workers as a launcher starts them: real processes, one of which is killed and started again.
import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { FileLock } from "../../data/files/lock.ts";
import { openTokens, type TokenRecord, writeCartoonFaces } from "../../data/index.ts";
import { commandFixture, ended, startWith, tessera } from "../support/commands.ts";
import { tar } from "../support/tarfile.ts";

setDefaultTimeout(120_000); // Bun gives a test five seconds, too few for four processes on a busy machine

const { folder, model } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));
const to = (...names: string[]) => join(folder, ...names);
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** The sources: three archives, and a folder. */
async function corpus(): Promise<string[]> {
  const loose = to("loose"), packed = to("packed"), archives: string[] = [];
  await writeCartoonFaces(loose, 10, 48, 3);
  await writeCartoonFaces(packed, 8, 48, 4);
  const names = (await readdir(packed)).sort();
  await mkdir(to("tars"));
  for (const [i, few] of [names.slice(0, 4), names.slice(4, 7), names.slice(7)].entries()) {
    const entries = await Promise.all(
      few.map(async (name) => ({ name, data: await readFile(join(packed, name)) })),
    );
    archives.push(to("tars", `${i}.tar`));
    await writeFile(archives[i], tar(entries));
  }
  return [loose, ...archives];
}

test("workers divide a corpus; one that is killed is started again, and nothing is missing or there twice", async () => {
  const out = to("tokens.parquet"), sources = await corpus();
  const words = (
    path: string,
  ) => ["encode", "-m", model, "--size", "96", "-o", path, "--shards", "4", ...sources];
  const worker = (rank: number) =>
    startWith({ PMI_RANK: `${rank}`, PMI_SIZE: "2", TESSERA_THREADS: "1" }, ...words(out));
  // the second worker has shards 2 and 4; it is killed in the middle of the first of them
  const journal = to("tokens-2-of-4.parquet.partial");
  const first = ended(worker(0)), child = worker(1), killed = ended(child);
  const lines = async () => (await readFile(journal, "utf8").catch(() => "")).split("\n").length - 1;
  while (await lines() < 3 && child.exitCode === null) await sleep(3);
  child.kill("SIGKILL");
  expect((await killed).code).not.toBe(0);
  expect((await first).code).toBe(0);

  // while another process has the file, here this one, a worker does its other shards and then says so
  const lock = await FileLock.take(to("tokens-2-of-4.parquet.lock"));
  const meanwhile = await ended(worker(1));
  lock.release();
  expect([meanwhile.code, meanwhile.err.trim().split("\n").at(-1)]).toEqual([
    1,
    expect.stringMatching(/^tessera: .*tokens-2-of-4\.parquet is in use: process \d+ on .* writes it$/),
  ]);
  expect(meanwhile.out).toMatch(/tokens-4-of-4\.parquet: \d+ pictures?, /);
  const before = await tessera("tokens", "verify", to("tokens-*-of-4.parquet"));
  expect([before.code, before.err]).toEqual([
    1,
    expect.stringContaining("tokens-2-of-4.parquet: it is not finished"),
  ]);

  // started twice at the same time: one of them finishes, and the other says so or comes too late
  const again = await Promise.all([ended(worker(1)), ended(worker(1))]);
  expect(again.map(({ code }) => code)).toContain(0);
  for (const { code, out, err } of again) {
    if (code !== 0) expect([code, err]).toEqual([1, expect.stringContaining("is in use: process ")]);
    else expect(out).toMatch(/tokens-4-of-4\.parquet is finished: \d+ picture/);
  }
  expect(again.some(({ out }) => /continuing: \d+ pictures? in .*tokens-2-of-4\.parquet\.partial/.test(out)))
    .toBe(true);

  expect((await readdir(folder)).filter((name) => /partial|lock|tmp/.test(name))).toEqual([]);
  const { code, out: said } = await tessera(
    "tokens",
    "merge",
    "-o",
    to("all.parquet"),
    to("tokens-*-of-4.parquet"),
  );
  expect([code, said]).toEqual([0, `${to("all.parquet")}: 18 pictures from 4 files\n`]);
  const calm = await tessera("encode", "-m", model, "--size", "96", "-o", to("calm.parquet"), ...sources);
  expect([calm.code, calm.err]).toEqual([0, ""]);
  const rows = async (name: string) =>
    (await Array.fromAsync((await openTokens(to(name))).records()))
      .sort((a: TokenRecord, b: TokenRecord) => a.file < b.file ? -1 : 1);
  expect(await rows("all.parquet")).toEqual(await rows("calm.parquet"));
});
