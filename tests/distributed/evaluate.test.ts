// tessera evaluate in several ranks: the file that one process writes, one voice, and a clear end if ranks do not fit.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { commandFixture } from "../support/commands.ts";
import { missing, oneLauncher, outputOf, scriptWords, start } from "../support/mpi.ts";

setDefaultTimeout(120_000);

const { folder, faces, model } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));

const words = (out: string) => [
  ...scriptWords("../../cli.ts"),
  ...[
    "evaluate",
    "--model",
    model,
    "--data",
    faces,
    "--size",
    "64",
    "--no-faces",
    "--out",
    join(folder, out),
  ],
];

describe("evaluate", () => {
  for (const name of missing) test.skip(`${name} is not installed`, () => {});
  const launcher = oneLauncher;
  if (!launcher) return;

  test(`writes and says the same in 2 ranks as in one (${launcher.name})`, async () => {
    const said = await outputOf(words("alone"));
    const together = await outputOf([...launcher.words(2), ...words("together")]);
    expect(together.replaceAll("together", "alone")).toBe(said);
    for (const name of ["evaluation.json", "evaluation.html", "worst.png"]) {
      const [one, other] = await Promise.all(
        ["alone", "together"].map((out) => readFile(join(folder, out, name))),
      );
      expect([name, one.equals(other)]).toEqual([name, true]);
    }
  });

  test(`names the option that ranks do not have in common (${launcher.name})`, async () => {
    const [one, other] = [words("x"), [...words("x"), "--seed", "3"]];
    const { code, err } = await start([...launcher.words(1), ...one, ":", "-n", "1", ...other]).ended;
    expect(code).not.toBe(0);
    expect(err.match(/^tessera: .*$/mg)).toEqual([
      "tessera: --seed is 0 on rank 0 and 3 on rank 1: start all ranks with the same command and the same files",
    ]);
  });
});
