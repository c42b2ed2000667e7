// Nothing from a file, a folder or a server reaches a terminal unescaped, and what files cannot give is said.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { print, printAside } from "../../cli/print.ts";
import { type TensorToWrite, writeSafetensors, writeTorch } from "../../data/index.ts";
import { printable } from "../../data/formats/text.ts";
import { type Answer, commandFixture, tessera } from "../support/commands.ts";
import { Global, Raw, torchZip } from "../support/torchfile.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const { folder, faces, model } = await commandFixture();
afterAll(() => rm(folder, { recursive: true, force: true }));
const at = (name: string) => join(folder, name);

/** What a terminal obeys: a new title, a colour, a cursor that moves up, a C1 code, text from right to left, a new line. */
const evil = "\x1b]0;pwned\x07\x1b[31m\x1b[2A\x9b1m\u202e\u2028x\nfake: line";

/** Whether a command printed something that a terminal obeys. Its own lines end in line feeds. */
function isClean({ out, err }: Answer): boolean {
  return /^[^\p{Cc}\p{Zl}\p{Zp}\u202e]*$/u.test(`${out}${err}`.replaceAll("\n", "")) &&
    !/^fake: line/m.test(`${out}${err}`);
}

describe("printable", () => {
  test("escapes what a terminal obeys, and leaves all other text as it is", () => {
    expect(printable("a\x1b[31m\u202e\u2028\x9b\r\n\t")).toBe(
      "a\\u001b[31m\\u202e\\u2028\\u009b\\u000d\\u000a\\u0009",
    );
    expect(printable("face é 😀 日本 \\n")).toBe("face é 😀 日本 \\n");
    expect(printable("half a pair: \ud83d")).toBe("half a pair: \\ud83d");
  });

  test("leaves JSON what it was", () => {
    const value = { name: evil };
    expect(JSON.parse(printable(JSON.stringify(value)))).toEqual(value);
  });

  test("is what print does to each line", () => {
    const { log, error } = console, lines: string[] = [];
    console.log = console.error = (line: string) => void lines.push(line);
    try {
      print("one", "\x1b[1m");
      printAside("two\nthree");
    } finally {
      Object.assign(console, { log, error });
    }
    expect(lines).toEqual(["one", "\\u001b[1m", "two\\u000athree"]);
  });
});

const tensor = (name: string, ...values: number[]): TensorToWrite => ({
  ...{ name, shape: [values.length, 1], dtype: "f32" as const },
  data: () => Float32Array.from(values),
});

describe("nothing from a file reaches a terminal unescaped", () => {
  const commands: [name: string, prepare: () => Promise<string[]>][] = [
    ["names and metadata of a checkpoint", async () => {
      await writeSafetensors(at("evil.safetensors"), [tensor(evil, 1)], { [evil]: evil, config: evil });
      return ["inspect", "--tensors", at("evil.safetensors")];
    }],
    ["the same as JSON", () => Promise.resolve(["inspect", "--json", at("evil.safetensors")])],
    ["a conversion", () => Promise.resolve(["convert", at("evil.safetensors"), at("evil.pt")])],
    ["a model that cannot be loaded", () => Promise.resolve(["encode", "-m", at("evil.safetensors"), faces])],
    ["classes in a pickle", async () => {
      const root = new Map([[
        "hyper_parameters",
        new Map([["a", new Global("m", evil.replaceAll("\n", ""))]]),
      ]]);
      await writeFile(at("evil.ckpt"), torchZip(root as never));
      return ["inspect", at("evil.ckpt")];
    }],
    ["a damaged pickle", async () => {
      await writeFile(
        at("raw.ckpt"),
        torchZip(new Raw([0x63, ...new TextEncoder().encode(`a\n\x1b[31m\n`), 0x4b, 1, 0x52])),
      );
      return ["inspect", at("raw.ckpt")];
    }],
    ["the name of a file that does not exist", () => Promise.resolve(["inspect", at(evil)])],
    ["an argument that is no option", () => Promise.resolve(["inspect", `--${evil}`])],
    ["the header of a token file", async () => {
      const header = { format: "tessera-tokens", version: 1, [evil]: 1, factor: evil };
      await writeFile(at("evil.jsonl"), `${JSON.stringify(header)}\n`);
      return ["decode", "-m", model, at("evil.jsonl")];
    }],
    ["the name of a row", async () => {
      await writeFile(at("row.jsonl"), JSON.stringify({ file: evil, encoding: [1, 2, 3, 99] }));
      return ["decode", "-m", model, at("row.jsonl")];
    }],
    ["a value in a row", async () => {
      await writeFile(at("value.jsonl"), JSON.stringify({ encoding: [evil] }));
      return ["decode", "-m", model, at("value.jsonl")];
    }],
    ["the columns of a TSV", async () => {
      await writeFile(at("evil.tsv"), `"${evil}"\t"${evil}"\tencoding\n`);
      return ["decode", "-m", model, at("evil.tsv")];
    }],
    ["pictures in a folder", async () => {
      const inner = at("evil");
      await mkdir(inner);
      await writeFile(join(inner, `${evil.replaceAll("/", "")}.png`), "no picture");
      return ["encode", "-m", model, "-o", at("out.jsonl"), inner];
    }],
    ["a config of taming", async () => {
      await writeFile(at("evil.yaml"), `model: {"\\e[31m": "\\e[31m"}\n`);
      return ["finetune", "--base", at("evil.yaml"), "--no-lpips"];
    }],
  ];
  for (const [name, prepare] of commands) {
    test(name, async () => {
      const answer = await tessera(...await prepare());
      expect(answer.out + answer.err).not.toBe("");
      expect(isClean(answer) ? "" : JSON.stringify(answer)).toBe("");
    });
  }

  test("an error with its stack", async () => {
    process.env.DEBUG = "1";
    try {
      const answer = await tessera("inspect", at(evil));
      expect(answer.err).toContain("    at ");
      expect(isClean(answer)).toBe(true);
    } finally {
      delete process.env.DEBUG;
    }
  });
});

describe("what a file does not give is said", () => {
  test("--strip of a file without an autoencoder, and a file without tensors", async () => {
    await writeSafetensors(at("other.safetensors"), [tensor("encoder.layer.0", 1)]);
    const strip = await tessera("convert", "--strip", at("other.safetensors"), at("stripped.safetensors"));
    expect([strip.code, strip.err]).toEqual([
      1,
      expect.stringContaining(`${at("other.safetensors")}: not a`),
    ]);
    await writeTorch(at("empty.pt"), new Map([["a", 1]]));
    const empty = await tessera("convert", at("empty.pt"), at("none.safetensors"));
    expect(empty.code).toBe(0);
    expect(empty.err).toContain(
      `warning: there are no tensors in ${at("empty.pt")}, and there will be none in `,
    );
  });

  test("numbers that are too large for f16: in which tensor, and how many", async () => {
    const [large, limit] = [
      tensor("large", 1e5, -7e4, 65519, NaN, Infinity),
      tensor("limit", 65504, -65519.9),
    ];
    await writeSafetensors(at("wide.safetensors"), [large, limit]);
    const { code, err } = await tessera(
      "convert",
      "--dtype",
      "f16",
      at("wide.safetensors"),
      at("half.safetensors"),
    );
    expect([code, err.trim().split("\n")]).toEqual([0, [
      "warning: large: 2 of 5 values are too large for f16 (up to 1.000e+5) and become infinite",
    ]]);
    const same = await tessera("convert", "--dtype", "bf16", at("wide.safetensors"), at("bf16.safetensors"));
    expect(same.err).toBe("");
  });

  test("the way out for tokens that begin with DALL-E mini's start token", async () => {
    const encoding = [16384, ...Array.from({ length: 16 }, (_, i) => i)];
    await writeFile(at("mini.jsonl"), JSON.stringify({ key: "a", encoding }));
    const { code, err } = await tessera("decode", "-m", model, at("mini.jsonl"));
    expect(code).toBe(1);
    expect(err).toContain(
      "mini.jsonl: line 1: it has 17 tokens (the first is 16384), which do not fill a square",
    );
    expect(err).toContain("; read it with --dalle-mini");
    const right = await tessera("decode", "-m", model, "--dalle-mini", "-o", at("mini"), at("mini.jsonl"));
    expect(right.code).toBe(0);
  });

  test("inspect invents no step, and shows at most 40 settings", async () => {
    const metadata = Object.fromEntries(
      Array.from({ length: 1000 }, (_, i) => [`key ${i}`, "x".repeat(1000)]),
    );
    await writeSafetensors(at("many.safetensors"), [tensor("n".repeat(5000), 1)], metadata);
    const many = await tessera("inspect", "--tensors", at("many.safetensors"));
    expect(many.out).toContain("  and 960 more\n");
    expect(many.out).toContain("... (5000 characters)");
    expect(many.out.length).toBeLessThan(20_000);
    await tessera("convert", "--strip", model, at("weights.ckpt"));
    expect((await tessera("inspect", at("weights.ckpt"))).out).not.toMatch(/step|epoch/);
    const report = JSON.parse((await tessera("inspect", "--json", at("weights.ckpt"))).out);
    expect([report.globalStep, report.epoch]).toEqual([null, null]);
  });
});
