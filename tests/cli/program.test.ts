// The command line itself: the errors for incorrect use, and all help texts.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { commandFixture, tessera } from "../support/commands.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, faces, model } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));

describe("incorrect use gives a one-line error", () => {
  const cases: [words: string[], code: number, message: string][] = [
    [["finetun"], 2, "unknown command 'finetun' (Did you mean finetune?); see tessera --help"],
    [["--verion"], 2, "unknown option '--verion' (Did you mean --version?); see tessera --help"],
    [
      ["finetune", "--stpes", "3"],
      2,
      "unknown option '--stpes' (Did you mean --steps?); see tessera finetune --help",
    ],
    [["finetune", "--steps", "x"], 2, "argument 'x' is invalid. expected a whole number >= 1; see"],
    [["finetune", "--lr", "-1"], 2, "expected a number above 0, such as 4.5e-6"],
    [["finetune", "--ch-mult", "1,a"], 2, "expected whole numbers separated by commas, such as 1,2,2,4"],
    [["finetune", "--val", "1.5"], 2, "expected a folder, or a fraction from 0 to below 1"],
    [["finetune", "--decay", "steps"], 2, "Allowed choices are constant, cosine, linear"],
    [["finetune", "--from"], 2, "option '--from <file>' argument missing"],
    [["finetune", "--lr", "1", "--base-lr", "1"], 2, "cannot be used with option"],
    [["finetune"], 2, "say where to start: --from FILE, --scratch or --resume RUN"],
    [["finetune", "--scratch", "--from", "x"], 2, "--from and --scratch exclude each other"],
    [["finetune", "--scratch"], 2, "--data is missing: a folder, a glob or a list of pictures"],
    [["finetune", "--resume", join(folder, "x")], 1, "there is no such file or folder to resume from"],
    [["finetune", "--resume", folder], 1, "this folder has no checkpoints/last.safetensors"],
    [
      ["finetune", "--resume", model],
      1,
      `holds weights but no run to resume: start a new run with --from ${model}`,
    ],
    [["finetune", "--scratch", "--data", "/nowhere"], 1, "there is no file or folder /nowhere"],
    [
      ["finetune", "--scratch", "--data", faces],
      1,
      "give its weights with --lpips FILES, or train without it (blurrier) with --no-lpips",
    ],
    [["finetune", "--from", "no.ckpt", "--data", faces], 1, "no.ckpt: there is no such file"],
    [
      ["finetune", "--from", model, "--data", faces, "--lpips", model],
      1,
      "neither a classifier (keys features.N.weight) nor heads",
    ],
    [
      ["finetune", "--from", model, "--data", faces, "--lpips", "no.pth"],
      1,
      "perceptual network: there is no file or folder no.pth",
    ],
    [["inspect"], 2, "missing required argument 'file'"],
    [["inspect", "no.ckpt"], 1, "no.ckpt: there is no such file"],
    [["inspect", join(faces, "face_00000.png")], 1, "neither a torch, a safetensors nor a Flax file"],
    [["reconstruct", "--model", model, "/nowhere"], 1, "there is no file or folder /nowhere"],
    [["encode"], 2, "missing required argument 'pictures'"],
    [["decode", "--model", model, "no.jsonl"], 1, "no.jsonl: there is no such file"],
    [["convert", model], 2, "missing required argument 'out'"],
    [["convert", model, join(folder, "x.gguf")], 1, "the ending must name the format: .ckpt, .pt, .pth"],
    [["convert", model, join(folder, "x.ckpt"), "--lpips"], 2, "--lpips only works with --strip"],
    [["convert", model, join(folder, "x.ckpt"), "--strip", "--lpips"], 1, "has no perceptual network"],
    [["convert", "no.ckpt", join(folder, "x.ckpt")], 1, "no.ckpt: there is no such file"],
    [["decode", "--model", model, model], 1, "token files end in .parquet, .jsonl or .tsv"],
    [
      ["encode", "--model", model, "-o", "x.csv", faces],
      1,
      "x.csv: token files end in .parquet, .jsonl or .tsv",
    ],
    [["encode", "--shard", "0/4", faces], 2, "expected part/parts, such as 1/8 to 8/8"],
    [["encode", "--shard", "1/4", "--shards", "4", faces], 2, "cannot be used with option '--shards <n>'"],
    [["encode", "--shards", "0", faces], 2, "expected a whole number >= 1"],
    [
      ["tokens", "merge", "a.parquet"],
      2,
      "required option '-o, --out <file>' not specified; see tessera tokens merge",
    ],
    [
      ["tokens", "merge", "-o", "x.csv", "a.parquet"],
      1,
      "x.csv: token files end in .parquet, .jsonl or .tsv",
    ],
    [["tokens", "verify", "no.parquet"], 1, "no.parquet: there is no such file"],
    [["tokens", "verify", "no*.parquet"], 1, "nothing matches the pattern no*.parquet"],
    [["tokens", "stats", model], 1, "token files end in .parquet, .jsonl or .tsv"],
    [["tokens", "split", "--shards", "2", "a.tsv", "b.tsv"], 1, "a.tsv: there is no such file"],
    [["tokens", "join"], 2, "unknown command 'join'"],
    [
      ["encode", "--dalle-mini", "--range", "signed", faces],
      2,
      "cannot be used with option '--range <kind>'",
    ],
    [["demo", "--device", "gpu"], 2, "Allowed choices are cpu, webgpu, auto"],
    [["demo", "--steps", "0"], 2, "expected a whole number >= 1"],
  ];
  for (const [words, code, message] of cases) {
    test(words.join(" ").replaceAll(folder, "…"), async () => {
      const answer = await tessera(...words);
      expect(answer.err).toContain(message);
      expect(answer.err.trim().split("\n").length).toBe(1);
      expect(answer.err.startsWith("tessera: ")).toBe(true);
      expect(answer.code).toBe(code);
    });
  }
});

test("a command that does not divide its work refuses to run several times at once", async () => {
  Object.assign(process.env, { OMPI_COMM_WORLD_RANK: "0", OMPI_COMM_WORLD_SIZE: "2" });
  try {
    for (
      const words of [
        ["convert", model, join(folder, "twice.ckpt")],
        ["reconstruct", "--model", model, "--out", join(folder, "twice"), faces],
        ["decode", "--model", model, "no.jsonl"],
        ["demo"],
      ]
    ) {
      expect(await tessera(...words)).toEqual({
        code: 2,
        out: "",
        err: `tessera: ${words[0]} runs in one process, but mpirun of Open MPI has started 2 ` +
          "(OMPI_COMM_WORLD_SIZE=2): start it without the launcher, or with -n 1\n",
      });
    }
    expect((await tessera("inspect", model)).code).toBe(0); // it writes nothing
  } finally {
    delete process.env.OMPI_COMM_WORLD_RANK;
    delete process.env.OMPI_COMM_WORLD_SIZE;
  }
  expect((await readdir(folder)).filter((name) => name.startsWith("twice"))).toEqual([]);
});

test("every command explains itself with examples", async () => {
  const commands = [
    "demo",
    "doctor",
    "inspect",
    "reconstruct",
    "encode",
    "decode",
    "tokens",
    "tokens verify",
    "tokens stats",
    "tokens merge",
    "tokens split",
    "finetune",
    "evaluate",
    "convert",
  ];
  for (const words of [["--help"], [], ...commands.map((command) => [...command.split(" "), "--help"])]) {
    const { code, out, err } = await tessera(...words);
    expect([code, err]).toEqual([0, ""]);
    expect(out).toContain("Usage: tessera");
    expect(out).toContain(`Examples:\n  $ tessera ${words.slice(0, -1).join(" ")}`);
    for (const line of out.split("\n")) expect(line.length).toBeLessThanOrEqual(118);
  }
  expect((await tessera("--version")).out.trim()).toMatch(/^\d+\.\d+\.\d+$/);
});
