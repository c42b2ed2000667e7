// Error messages name the API's settings in the library, and options on the command line.
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { inWordsOfOptions } from "../../cli/messages.ts";
import { FileExistsError } from "../../data/index.ts";
import { OutOfMemoryError } from "../../src/index.ts";
import {
  BatchTooLargeError,
  DivergedError,
  MissingPerceptualError,
  NotResumableError,
  SettingError,
} from "../../train/index.ts";
import { ranksOption } from "../../cli/ranks.ts";
import { importsBelow, root } from "../support/imports.ts";

const noMemory = new OutOfMemoryError("no memory", {});
const shape = { batch: 8, height: 64, width: 48, precision: "f32" } as const;

const errors: readonly [error: Error, api: string, prompt: string][] = [
  [
    new FileExistsError("a.jsonl", "it exists already"),
    "a.jsonl: it exists already; choose another name, or replace it (replace: true)",
    "a.jsonl: it exists already; choose another name, or replace it with --force",
  ],
  [
    new MissingPerceptualError("a.ckpt has none"),
    'a.ckpt has none: pass the files with its weights (perceptual: [files]), or train without it, which is blurrier (perceptual: "none")',
    "a.ckpt has none: give its weights with --lpips FILES, or train without it (blurrier) with --no-lpips",
  ],
  [
    new NotResumableError("a.ckpt", "holds weights alone"),
    'a.ckpt holds weights alone: begin a new run with start: { from: "a.ckpt" }',
    "a.ckpt holds weights alone: start a new run with --from a.ckpt",
  ],
  [
    new DivergedError("step 3: rec_loss is NaN", "nothing is kept"),
    "step 3: rec_loss is NaN, so training stopped; nothing is kept. A lower learning rate (lr) may help.",
    "step 3: rec_loss is NaN, so training stopped; nothing is kept. A lower --lr may help.",
  ],
  [
    new BatchTooLargeError(noMemory, shape, 2e9, 3, 3),
    "no memory; a step on 8 of 64x48 takes about 2000 MB, a batch of 3 fits (batch: 3, with accumulate: 3 for the same step)",
    "no memory; a step on 8 of 64x48 takes about 2000 MB, a batch of 3 fits (--batch 3, with --accumulate 3 for the same step)",
  ],
  [
    new BatchTooLargeError(noMemory, shape, 2e9, 0, 0),
    'no memory; a step on 8 of 64x48 takes about 2000 MB, not even one picture fits: use a smaller size, or precision: "f16"',
    "no memory; a step on 8 of 64x48 takes about 2000 MB, not even one picture fits: use a smaller --size, or --precision f16",
  ],
  [
    new SettingError((word) => `${word("ranks", "one")}, ${word("ranks")} or ${word("else", 2)}`),
    'ranks: "one", ranks or else: 2',
    "--ranks one, --ranks or else: 2",
  ],
  [noMemory, noMemory.message, "no memory"],
  [new Error("anything else"), "anything else", "anything else"],
];

for (const [error, api, prompt] of errors) {
  test(`${error.name}: ${prompt.slice(0, 40)}`, () => {
    expect(error.message).toBe(api);
    expect(inWordsOfOptions(error, [ranksOption()])).toBe(prompt);
  });
}

test("no message of the library names an option of the command line", () => {
  // options of V8, tar, Deno and MPI launchers
  const flagsOfOthers = [
    "src/backends/wasm/v8_flags.ts",
    "data/files/tar.ts",
    "src/environment.ts",
    "src/packages.ts",
    "train/distributed/cores.ts",
    "train/distributed/launcher.ts",
  ];
  const found: string[] = [];
  for (const file of importsBelow(["src", "data", "nn", "train"]).keys()) {
    if (flagsOfOthers.includes(file)) continue;
    const lines = readFileSync(join(root, file), "utf8").split("\n");
    lines.forEach((line, i) => {
      if (/(^|[\s"'`(])--(?!this)[a-z]{2,}/.test(line)) found.push(`${file}:${i + 1}: ${line.trim()}`);
    });
  }
  expect(found).toEqual([]);
});
