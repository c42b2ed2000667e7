// The structure of the project: imports run one way and never in a circle, and only one place knows the backends by name.
import { expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { drawHouse } from "../docs/figures/house.ts";
import { betweenFolders, circles, importsBelow, importsOf, root } from "./support/imports.ts";

/** The layers from the outside in. Each folder may import those after it. */
const layers = ["examples", "playground", "cli", "train", "nn", "data", "src"];
const graph = importsBelow([...layers, "mod.ts", "core.ts", "cli.ts"]);

test("the walk over imports finds all of them", () => {
  expect(graph.size).toBeGreaterThan(150);
  expect(importsOf("src/ops/conv.ts")).toContain("src/array.ts");
  const loop = new Map([["a", new Set(["b"])], ["b", new Set(["c"])], ["c", new Set(["a"])], [
    "d",
    new Set(["a"]),
  ]]);
  expect(circles(loop)).toEqual([["a", "b", "c"]]);
});

test("no circle between files", () => {
  expect(circles(graph)).toEqual([]);
});

test("no circle between sibling folders", () => {
  const folders = new Set([""]);
  for (const file of graph.keys()) {
    for (let at = dirname(file); at !== "."; at = dirname(at)) folders.add(at);
  }
  const found = [...folders].flatMap((folder) =>
    circles(betweenFolders(graph, folder)).map((c) => [folder, c])
  );
  expect(found).toEqual([]);
});

test("imports run inwards: examples, cli -> train -> nn -> data -> src", () => {
  const outwards: string[] = [];
  for (const [file, imports] of graph) {
    const own = layers.indexOf(file.split("/")[0]);
    // the entries at the top, and the examples and the playground, which import them
    if (own < layers.indexOf("cli")) continue;
    for (const to of imports) {
      const isOutwards = graph.has(to) && layers.indexOf(to.split("/")[0]) < own;
      if (isOutwards) outwards.push(`${file} -> ${to}`);
    }
  }
  expect(outwards).toEqual([]);
});

test("src opens its backends in one place", () => {
  const found: string[] = [];
  for (const [file, imports] of graph) {
    for (const to of imports) {
      const backend = /^src\/backends\/\w+\//.exec(to)?.[0];
      if (file.startsWith("src/") && backend && !file.startsWith(backend)) found.push(file);
    }
  }
  expect(new Set(found)).toEqual(new Set(["src/device.ts"]));
});

test("the picture of the folders is up to date and shows every source", () => {
  expect(readFileSync(join(root, "docs", "house.svg"), "utf8")).toBe(drawHouse());
});

test("the pages on the architecture and on operations name files that exist", () => {
  for (const page of ["architecture.md", "adding-an-op.md"]) {
    const text = readFileSync(join(root, "docs", page), "utf8");
    const named = [
      ...text.matchAll(/`((?:cli|train|nn|data|src|tests|examples|docs|bench|playground)\/[\w./]+\.\w+)`/g),
    ];
    expect(named.length).toBeGreaterThan(5);
    for (const [, file] of named) {
      expect({ page, file, exists: existsSync(join(root, file)) }).toEqual({ page, file, exists: true });
    }
  }
});

test("commands print through cli/print.ts and cli/progress.ts, which escape what a terminal would obey", () => {
  const printing = [...graph.keys()].filter((file) =>
    file.startsWith("cli/") &&
    /\bconsole\.|\.std(?:out|err)\.write\b/.test(readFileSync(join(root, file), "utf8"))
  );
  // output.ts writes progress lines, which progress.ts has escaped
  expect(printing).toEqual(["cli/output.ts", "cli/print.ts"]);
});
