// The notebooks (docs/notebooks): each is what its source says, small, and linked; and every cell runs, one notebook after the
// other, without Jupyter or Python, and shows what was saved. tests/interop/notebooks.test.ts runs them in the real kernel.
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { readCells, withResult } from "../../scripts/notebooks/cells.ts";
import { notebookNames, notebooksFolder, runNotebook, sourcePath } from "../../scripts/notebooks.ts";
import { root } from "../support/imports.ts";
import { checkOutputs, notebookPath, readNotebook } from "../support/notebooks.ts";

setDefaultTimeout(120_000);

const read = (...path: string[]) => readFileSync(join(root, ...path), "utf8");
const chapters = readdirSync(join(root, "docs", "book")).filter((name) => /^\d-.*\.md$/.test(name));

describe("the list of notebooks", () => {
  test("has one for each chapter, which links to it", () => {
    expect(notebookNames).toEqual(chapters.map((name) => name.replace(".md", "")).sort());
    for (const name of notebookNames) {
      expect(read("docs", "book", `${name}.md`)).toContain(`](../notebooks/${name}.ipynb)`);
    }
  });

  test("is in README.md, whose links lead to files", () => {
    const text = read("docs", "notebooks", "README.md");
    for (const name of notebookNames) expect(text).toContain(`](${name}.ipynb)`);
    expect(deadLinks(text)).toEqual([]);
  });

  test("has no file that is not made from a source", () => {
    const made = readdirSync(notebooksFolder).filter((name) => name.endsWith(".ipynb")).sort();
    expect(made).toEqual(notebookNames.map((name) => `${name}.ipynb`));
  });
});

/** Links from docs/notebooks to files that do not exist. */
function deadLinks(text: string): string[] {
  const targets = [...text.matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)].map(([, target]) => target);
  return targets.filter((target) => !/^https?:/.test(target) && !existsSync(join(notebooksFolder, target)));
}

describe("notebooks", () => {
  for (const name of notebookNames) {
    test(`${name} is what its source says, with its outputs, in at most 300 kB`, () => {
      const { cells } = readNotebook(name), source = readCells(readFileSync(sourcePath(name), "utf8"));
      expect(cells.map(({ cell_type, source }) => ({ kind: cell_type, text: source.join("") }))).toEqual(
        source,
      );
      expect(cells.some(({ outputs }) => (outputs?.length ?? 0) > 0)).toBe(true);
      expect(readFileSync(notebookPath(name)).length).toBeLessThan(300_000);
    });

    test(`${name} links to its chapter and to files that exist`, () => {
      const text = readNotebook(name).cells.filter((cell) => cell.cell_type === "markdown")
        .map(({ source }) => source.join("")).join("\n");
      expect(text).toContain(`](../book/${name}.md)`);
      expect(deadLinks(text)).toEqual([]);
    });
  }
});

describe("a source", () => {
  test("that ends with a value shows it, whatever stands before it", () => {
    const cases: [code: string, wanted: string][] = [
      ["x;", "await show(\nx\n);"],
      ["const x = 1;\nx.add(\n  2,\n);", "const x = 1;\nawait show(\nx.add(\n  2,\n)\n);"],
      ["const x = [\n  1,\n];", "const x = [\n  1,\n];"],
      ["for (const a of b) {\n  a();\n}", "for (const a of b) {\n  a();\n}"],
      ["await plot([{\n  a,\n}], {\n  b,\n});", "await show(\nawait plot([{\n  a,\n}], {\n  b,\n})\n);"],
    ];
    for (const [code, wanted] of cases) expect(withResult(code, "show")).toBe(wanted);
  });

  test("is cut into cells, and text outside of a comment is refused", () => {
    const source = "// A header.\n\n// %% [markdown]\n/*\n# Title\n*/\n\n// %%\nconst x = 1;\nx;\n";
    expect(readCells(source)).toEqual([{ kind: "markdown", text: "# Title" }, {
      kind: "code",
      text: "const x = 1;\nx;",
    }]);
    expect(() => readCells("// %% [markdown]\n# Title\n")).toThrow(
      "a cell of text is no block comment: # Title",
    );
  });
});

if (process.versions.bun) {
  test.skip("running the notebooks: their kernel is Deno's, so only the tests in Deno run them", () => {});
} else {
  describe("the cells show what was saved (if not: deno task notebooks)", () => {
    for (const name of notebookNames) test(name, () => checkOutputs(name, runNotebook(name)));
  });
}
