// Writing token files: each format returns what was written, and a journal survives kills.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { appendFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import {
  FileExistsError,
  openTokens,
  type TokenHeader,
  type TokenRecord,
  TokensInUseError,
  TokenWriter,
} from "../../../data/index.ts";
import { header, readAll, records, write } from "../../support/token_files.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const folder = await mkdtemp(join(tmpdir(), "tessera-tokens-"));
afterAll(() => rm(folder, { recursive: true, force: true }));

for (const format of ["parquet", "jsonl", "tsv"]) {
  describe(format, () => {
    test("returns the records and the header that were written", async () => {
      const path = join(folder, `all.${format}`);
      await write(path, header, records);
      expect(await readAll(path)).toEqual(records);
      expect((await openTokens(path)).header).toEqual(header);
      expect((await readdir(folder)).filter((name) => name.includes("partial"))).toEqual([]);
    });

    test("keeps the grids of pictures of different shapes", async () => {
      const path = join(folder, `shapes.${format}`), free = { ...header, grid: null };
      const shapes = records.map((record, i) => ({
        ...record,
        grid: i % 2 ? [6, 1] as const : [3, 2] as const,
      }));
      await write(path, free, shapes);
      expect(await readAll(path)).toEqual(shapes);
    });

    test("may be empty", async () => {
      const path = join(folder, `empty.${format}`);
      await write(path, header, []);
      expect(await readAll(path)).toEqual([]);
    });

    test("a finished file says so, and takes further records, but only of the same making", async () => {
      const path = join(folder, `again.${format}`), all = await readFile(join(folder, `all.${format}`));
      await write(path, header, records);
      const again = await TokenWriter.open(path, { ...header, model: "renamed.ckpt" });
      expect([again.isFinished, again.length, again.header.model]).toEqual([
        true,
        records.length,
        "last.ckpt",
      ]);
      await again.finish();
      expect(await readFile(path)).toEqual(all);

      const other = { ...header, weights: "cd34", model: "other.ckpt" };
      const refused = TokenWriter.open(path, other);
      await expect(refused).rejects.toThrow(FileExistsError);
      await expect(refused).rejects.toThrow(
        "made with other settings (the weights of last.ckpt, now of other.ckpt)",
      );
      expect(await names()).toEqual([`again.${format}`]);

      const more = { ...records[0], file: "more.jpg" }, kept: string[] = [];
      const onKept = ({ file }: TokenRecord) => void kept.push(file);
      const adding = await TokenWriter.open(path, header, { onKept });
      await adding.add([more]);
      expect([kept.length, adding.isFinished]).toEqual([records.length, false]);
      await adding.close(); // as if it had been killed
      expect(await readFile(path)).toEqual(all);
      const going = await TokenWriter.open(path, header);
      expect([going.isFinished, going.length]).toEqual([false, records.length + 1]);
      await going.finish();
      expect(await readAll(path)).toEqual([...records, more]);

      const replacing = await TokenWriter.open(path, other, { replace: true });
      await replacing.add(records.slice(0, 1));
      expect((await readAll(path)).length).toBe(records.length + 1); // until the new one is complete
      await replacing.close();
      await expect(TokenWriter.open(path, header)).rejects.toThrow(
        "begun with other settings (the weights of",
      );
      const forced = await TokenWriter.open(path, other, { replace: true });
      expect(forced.length).toBe(1); // the journal of the new file continues
      await forced.finish();
      expect([(await openTokens(path)).header, await readAll(path)]).toEqual([other, records.slice(0, 1)]);
      expect(await names()).toEqual([`again.${format}`]);
      async function names() {
        return (await readdir(folder)).filter((name) => name.startsWith("again"));
      }
      await rm(path);
    });

    test("refuses a file that is none of its own, and leaves no journal behind", async () => {
      const path = join(folder, `foreign.${format}`);
      await writeFile(path, "name,age\n");
      await expect(TokenWriter.open(path, header)).rejects.toThrow("it exists already and is no token file");
      const names = (await readdir(folder)).filter((name) => name.startsWith(`foreign.${format}`));
      expect(names).toEqual([`foreign.${format}`]);
      await writeFile(path, ""); // an empty file, as mktemp makes, is no loss
      await write(path, header, records);
      expect(await readAll(path)).toEqual(records);
    });

    test("continues after a kill at any byte, with nothing repeated and nothing missing", async () => {
      const whole = join(folder, `whole.${format}`);
      await write(whole, header, records);
      const lines = [header, ...records.map(({ file, caption, encoding }) => ({ file, caption, encoding }))];
      const journal = lines.map((line) => JSON.stringify(line) + "\n").join("");
      const size = new TextEncoder().encode(journal).length;
      for (let cut = 0; cut <= size; cut += 41) {
        const path = join(folder, `cut.${format}`);
        await writeFile(`${path}.partial`, journal);
        await truncate(`${path}.partial`, cut);
        const kept: string[] = [];
        const onKept = ({ file }: TokenRecord) => void kept.push(file);
        const writer = await TokenWriter.open(path, header, { onKept });
        expect(kept).toEqual(records.slice(0, writer.length).map(({ file }) => file));
        await writer.add(records.filter(({ file }) => !writer.has(file)));
        await writer.finish();
        expect(await readFile(path)).toEqual(await readFile(whole));
      }
    });
  });
}

describe("TokenWriter", () => {
  test("drops what a power cut left after the last whole line", async () => {
    const path = join(folder, "power.jsonl");
    const writer = await TokenWriter.open(path, header);
    await writer.add(records);
    await writer.close();
    await appendFile(`${path}.partial`, "\0".repeat(100) + "\n" + JSON.stringify(records[0]) + "\n");
    const again = await TokenWriter.open(path, header);
    expect(again.length).toBe(records.length);
    await again.finish();
    expect(await readAll(path)).toEqual(records);
  });

  test("refuses a file that was begun with other settings, and keeps it", async () => {
    const path = join(folder, "settings.parquet");
    const writer = await TokenWriter.open(path, header);
    await writer.add(records.slice(0, 1));
    await writer.close();
    await expect(TokenWriter.open(path, { ...header, range: "unit" })).rejects.toThrow(
      "begun with other settings (range signed, now unit); begin it with the same settings, delete it",
    );
    expect((await stat(`${path}.partial`)).size).toBeGreaterThan(0);
  });

  test("a file belongs to one writer until that is closed", async () => {
    const path = join(folder, "two.tsv"), one = await TokenWriter.open(path, header);
    const refused = TokenWriter.open(path, header);
    await expect(refused).rejects.toThrow(TokensInUseError);
    await expect(refused).rejects.toThrow(`${path} is in use: process ${process.pid} on `);
    await one.add(records.slice(0, 1)); // the writer that was refused has changed nothing
    await one.close();
    const two = await TokenWriter.open(path, header);
    expect(two.length).toBe(1);
    await two.finish();
    expect((await readdir(folder)).filter((name) => name.startsWith("two"))).toEqual(["two.tsv"]);
    await expect(TokenWriter.open(path, { ...header, range: "unit" })).rejects.toThrow("with other settings");
    expect((await readdir(folder)).filter((name) => name.startsWith("two"))).toEqual(["two.tsv"]);
  });

  test("stops where another process has taken the file, or has written to the journal", async () => {
    const path = join(folder, "taken.tsv"), lost = await TokenWriter.open(path, header);
    await lost.add(records.slice(0, 1));
    const lock = JSON.parse(await readFile(`${path}.lock`, "utf8"));
    await writeFile(`${path}.lock`, JSON.stringify({ ...lock, pid: 1, host: "elsewhere", token: "other" }));
    await expect(lost.add(records.slice(1, 2))).rejects.toThrow(
      "is in use: process 1 on elsewhere writes it",
    );
    await expect(lost.finish()).rejects.toThrow(TokensInUseError);
    expect((await readdir(folder)).filter((name) => name.startsWith("taken")).sort()).toEqual([
      ...["taken.tsv.lock", "taken.tsv.partial"], // the lock is the other's
    ]);
    await rm(`${path}.lock`);
    const going = await TokenWriter.open(path, header);
    expect(going.length).toBe(1);
    await appendFile(`${path}.partial`, "x\n");
    await expect(going.add(records.slice(1, 2))).rejects.toThrow("something else has written to it");
    await going.close();
  });

  test("takes more sources than before, and says so in the header", async () => {
    const more: TokenHeader = { ...header, source: ["faces", "more.tar"] };
    for (const format of ["parquet", "jsonl", "tsv"]) {
      const path = join(folder, `sources.${format}`);
      const writer = await TokenWriter.open(path, header);
      await writer.add(records.slice(0, 1));
      await writer.close();
      const going = await TokenWriter.open(path, more);
      await going.finish();
      expect([(await openTokens(path)).header, (await readAll(path)).length]).toEqual([more, 1]);
      const third: TokenHeader = { ...more, source: ["faces", "more.tar", "third.tar"] };
      const adding = await TokenWriter.open(path, third);
      await adding.add(records.slice(1, 2));
      await adding.finish();
      expect([(await openTokens(path)).header, (await readAll(path)).length]).toEqual([third, 2]);
      await expect(TokenWriter.open(path, header)).rejects.toThrow(
        "source [faces,more.tar,third.tar], now [faces]",
      );
    }
  });

  test("a name that fills the disk's limit works too", async () => {
    const path = join(folder, `${"n".repeat(249)}.jsonl`);
    const writer = await TokenWriter.open(path, header);
    await writer.add(records.slice(0, 1));
    await writer.close();
    const going = await TokenWriter.open(path, header);
    expect(going.length).toBe(1);
    await going.finish();
    expect((await readAll(path)).length).toBe(1);
  });

  test("accepts three endings", async () => {
    await expect(TokenWriter.open(join(folder, "x.csv"), header)).rejects.toThrow(
      "token files end in .parquet, .jsonl or .tsv",
    );
  });

  test("writes Parquet in row groups that fit into memory", async () => {
    const path = join(folder, "groups.parquet"), tokens = 4096;
    const head: TokenHeader = { ...header, grid: [64, 64] };
    const rows = Array.from({ length: 1100 }, (_, i): TokenRecord => {
      const encoding = Array.from({ length: tokens }, (_, k) => (k * 31 + i) % 16384);
      return { file: `${i}`, caption: null, encoding, grid: [64, 64] };
    });
    await write(path, head, rows);
    let i = 0;
    for await (const record of (await openTokens(path)).records()) {
      const wanted = rows[i++];
      if (record.file !== wanted.file || record.encoding.some((token, k) => token !== wanted.encoding[k])) {
        throw new Error(`row ${i} differs`);
      }
    }
    expect(i).toBe(rows.length);
    // 14 bits per token and little else
    expect((await stat(path)).size).toBeLessThan(1100 * tokens * 14 / 8 * 1.03);
  });
});
