// tessera evaluate: a table with its protocol, JSON alone, what it refuses, and what it says without the face network.
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { copyFile, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { commandFixture, tessera } from "../../support/commands.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

let fixture: Awaited<ReturnType<typeof commandFixture>>;
beforeAll(async () => void (fixture = await commandFixture()));
afterAll(() => rm(fixture.folder, { recursive: true, force: true }));

const words = (name: string, ...more: string[]) => [
  ...["evaluate", "--model", fixture.model, "--data", fixture.faces, "--size", "32", "--no-faces"],
  ...["--out", join(fixture.folder, name), ...more],
];

test("prints the protocol and a table, and writes the results", async () => {
  const { code, out, err } = await tessera(...words("one"));
  expect([code, err]).toEqual([0, ""]);
  for (
    const text of [
      "  pictures: 5 of 5",
      "seed 0",
      "\nPSNR (higher is better)",
      "\nperplexity",
      "of 1280 tokens",
      "\nbits per pixel",
    ]
  ) {
    expect(out).toContain(text);
  }
  expect(out).toContain(`results: ${join(fixture.folder, "one", "evaluation.json")}`);
  const again = await tessera(...words("one"));
  expect([again.code, again.err]).toEqual([
    1,
    `tessera: ${
      join(fixture.folder, "one", "evaluation.json")
    }: it exists already, and so do 2 others; choose another name, ` +
    "or replace it with --force\n",
  ]);
  expect((await tessera(...words("one", "--force"))).code).toBe(0);
});

test("one picture has no intervals, and no model is better by it alone", async () => {
  const one = join(fixture.folder, "one picture"), picture = join(one, "a.png");
  await mkdir(one);
  await copyFile(join(fixture.faces, (await readdir(fixture.faces))[0]), picture);
  const again = join(fixture.folder, "again.safetensors");
  await copyFile(fixture.model, again);
  const { code, out, err } = await tessera(
    ...["evaluate", "--model", fixture.model, "--model", again, "--data", one, "--size", "32", "--no-faces"],
    ...["--out", join(fixture.folder, "of one")],
  );
  expect(code).toBe(0);
  expect(out).toMatch(/^PSNR \(higher is better\) +[\d.]+ dB \[-, -\].*no clear difference$/m);
  expect(err).toContain("warning: one picture has no intervals");
});

test("results that cannot be written are printed", async () => {
  const file = join(fixture.folder, "a file");
  await writeFile(file, "");
  const { code, out, err } = await tessera(...words("a file"));
  expect([code, err.trim().split("\n").length]).toEqual([1, 1]);
  expect(err).toContain(file);
  expect(out).toContain("\nPSNR (higher is better)");
  expect(out).not.toContain("results:");
});

test("--json prints nothing else", async () => {
  const { code, out } = await tessera(...words("json", "--json", "--batch", "2"));
  expect(code).toBe(0);
  const printed = JSON.parse(out);
  expect(printed).toEqual(
    JSON.parse(await readFile(join(fixture.folder, "json", "evaluation.json"), "utf8")),
  );
  expect(printed.models[0].codebook.tokens).toBe(5 * 16 ** 2);
});

test("what cannot be is one line, before any work", async () => {
  for (
    const [more, code, message] of [
      [["evaluate"], 2, "--data is missing: a folder, a glob or a list of pictures"],
      [words("x", "--model", fixture.model), 2, "--model names the same file twice"],
      [
        words("x", "--size", "31"),
        1,
        "evaluate: pictures of 31 pixels do not fit tiny.safetensors, which has a token for each 2",
      ],
      [words("x", "--lpips", fixture.model), 1, "perceptual network: neither a classifier"],
      [words("x", "--inception", fixture.model), 1, "of Inception's tensors do not fit the model"],
    ] as const
  ) {
    const answer = await tessera(...more);
    expect([answer.code, answer.err.includes(message), answer.err.split("\n").length]).toEqual([
      code,
      true,
      2,
    ]);
  }
});
