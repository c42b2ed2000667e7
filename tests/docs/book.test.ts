// The book (docs/book): its figures can be redrawn, its solutions print what they say, and the kernels that it quotes are those
// of the sources. The code blocks of its text run with the other examples of the documentation (tests/support/examples.ts).
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { figures, imagePath } from "../../docs/figures/all.ts";
import { readImage } from "../../mod.ts";
import { root } from "../support/imports.ts";

setDefaultTimeout(120_000); // some figures are drawn by small trainings

const book = join(root, "docs", "book");
const chapters = readdirSync(book).filter((name) => name.endsWith(".md"));
const solutions = readdirSync(join(book, "solutions")).filter((name) => name.endsWith(".ts"));

/** What a module prints while it is loaded. */
async function printed(path: string): Promise<string[]> {
  const lines: string[] = [], { log } = console;
  console.log = (...words: unknown[]) => lines.push(words.join(" "));
  try {
    await import(pathToFileURL(path).href);
  } finally {
    console.log = log;
  }
  return lines;
}

describe("the book's figures are those that their scripts draw", () => {
  for (const [name, draw] of Object.entries(figures)) {
    test(name, async () => {
      const [drawn, kept] = [await draw(), await readImage(imagePath(name))];
      expect([drawn.width, drawn.height]).toEqual([kept.width, kept.height]);
      let sum = 0;
      for (let i = 0; i < kept.pixels.length; i++) sum += Math.abs(drawn.pixels[i] - kept.pixels[i]);
      const difference = sum / kept.pixels.length; // in levels of 255; rounding differs a little between runtimes
      if (difference >= 1) {
        throw new Error(`${name}.png is out of date (by ${difference}): deno task figures`);
      }
    });
  }

  test("no other image lies there", () => {
    const names = readdirSync(join(book, "images")).sort();
    const drawn = Object.keys(figures).map((name) => `${name}.png`);
    expect(names).toEqual([...drawn, "vqgan.png"].sort()); // examples/vqgan.ts leaves it, after minutes
  });
});

describe("solutions print what their first lines say", () => {
  for (const name of solutions) {
    test(name, async () => {
      const path = join(book, "solutions", name);
      const head = readFileSync(path, "utf8").split("\n").filter((line) => line.startsWith("//   "));
      expect(head.length).toBeGreaterThan(2);
      expect(await printed(path)).toEqual(head.map((line) => line.slice("//   ".length)));
    });
  }
});

describe("chapters", () => {
  for (const name of chapters) {
    const text = readFileSync(join(book, name), "utf8");

    test(`${name} quotes the sources`, () => {
      for (const [, path, quoted] of text.matchAll(/```ts ignore\n\/\/ (\S+)\n(.*?)```/gs)) {
        expect(readFileSync(join(root, path), "utf8")).toContain(quoted);
      }
      expect(text.split("```ts ignore").length).toBe(text.split(/```ts ignore\n\/\/ \S+\.ts\n/).length);
    });

    test(`${name} links to files that exist`, () => {
      for (const [, target] of text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
        if (target.startsWith("https://")) continue;
        expect([target, existsSync(join(book, target))]).toEqual([target, true]);
      }
    });
  }
});
