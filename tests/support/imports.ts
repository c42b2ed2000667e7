// Finds out which file imports which from the sources, including type imports and dynamic imports.
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";

/** The folder that holds mod.ts. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

/** The imports of each file: project files by their path from the root, and packages by their name. */
export type Imports = ReadonlyMap<string, ReadonlySet<string>>;

/** The imports of one file. @param how `static` leaves out `import()` and type imports, which a page does not load */
export function importsOf(file: string, how: "all" | "static" = "all"): Set<string> {
  const text = readFileSync(join(root, file), "utf8").replace(/^\s*(\/\/|\*|\/\*).*$/gm, "");
  const statements = /^(?:import|export)\b(\s+type\b)?(?:[^;"]*?\bfrom)?\s*"([^"]+)";/gms;
  const found = [...text.matchAll(statements)].filter(([, type]) => how === "all" || !type).map((m) => m[2]);
  if (how === "all") found.push(...[...text.matchAll(/\bimport\(\s*"([^"]+)"/g)].map((m) => m[1]));
  return new Set(found.map((to) => to.startsWith(".") ? normalize(join(dirname(file), to)) : to));
}

/** The imports of every source in these folders and files. */
export function importsBelow(places: readonly string[]): Imports {
  const files = places.flatMap((place) =>
    place.endsWith(".ts") ? [place] : readdirSync(join(root, place), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith(".ts")).map((name) => join(place, name))
  );
  return new Map(files.sort().map((file) => [file, importsOf(file)]));
}

/** Groups of nodes that reach each other (Tarjan 1972); a graph without circles has none. */
export function circles(graph: Imports): string[][] {
  const index = new Map<string, number>(), low = new Map<string, number>();
  const stack: string[] = [], found: string[][] = [];
  const visit = (node: string): void => {
    const at = index.size;
    index.set(node, at);
    low.set(node, at);
    stack.push(node);
    for (const next of graph.get(node) ?? []) {
      if (!graph.has(next)) continue;
      if (!index.has(next)) visit(next);
      if (stack.includes(next)) low.set(node, Math.min(low.get(node)!, low.get(next)!));
    }
    if (low.get(node) !== at) return;
    const group = stack.splice(stack.indexOf(node));
    if (group.length > 1) found.push(group.sort());
  };
  for (const node of graph.keys()) if (!index.has(node)) visit(node);
  return found;
}

/** The graph between the folders that are directly in `folder` ("" for the root). */
export function betweenFolders(graph: Imports, folder: string): Imports {
  const prefix = folder === "" ? "" : `${folder}/`;
  const childOf = (file: string) => {
    const rest = file.startsWith(prefix) ? file.slice(prefix.length) : "";
    return rest.includes("/") ? rest.slice(0, rest.indexOf("/")) : null;
  };
  const folders = new Map<string, Set<string>>();
  for (const [file, imports] of graph) {
    const from = childOf(file);
    if (from === null) continue;
    const targets = folders.get(from) ?? new Set();
    folders.set(from, targets);
    for (const to of imports) {
      const target = graph.has(to) ? childOf(to) : null;
      if (target !== null && target !== from) targets.add(target);
    }
  }
  return folders;
}
