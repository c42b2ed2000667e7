// The shape of the house: imports run one way, in no circle, and only one place knows the backends by name.
import { expect, test } from "bun:test";
import { dirname } from "node:path";
import { betweenFolders, circles, importsBelow, importsOf } from "./support/imports.ts";

/** From the outside in. Each folder may import those after it. */
const layers = ["examples", "cli", "train", "nn", "data", "src"];
const graph = importsBelow([...layers, "mod.ts", "core.ts", "cli.ts"]);

test("the walk finds what it should", () => {
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

test("no circle between folders that lie side by side", () => {
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
    if (own <= 0) continue; // the entries at the top and the examples, which import mod.ts
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
