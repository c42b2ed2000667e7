// Builds the package for npm into dist/: JavaScript with types and source maps, one file for each module, and the small
// model. The package has the sources next to dist/, where the source maps expect them. `npm pack` runs this script first.
//
//   deno task build        or: bun run build
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url)), dist = join(root, "dist");

/** The path of the compiler. From TypeScript 7 on it is a native program. */
function compiler(): string {
  const modules = join(root, "node_modules"), name = `typescript-${process.platform}-${process.arch}`;
  const program = process.platform === "win32" ? "tsc.exe" : "tsc";
  const found = join(modules, "@typescript", name, "lib", program);
  if (existsSync(found) && existsSync(join(modules, "@types/node"))) return found;
  console.error("build: the development packages are not installed: run `npx --yes bun install` first");
  process.exit(1);
}

function rewrite(file: string, change: (text: string) => string): void {
  writeFileSync(file, change(readFileSync(file, "utf8")));
}

rmSync(dist, { recursive: true, force: true });
execFileSync(compiler(), ["-p", join(root, "tsconfig.build.json")], { stdio: "inherit" });
for (const name of readdirSync(dist, { recursive: true, encoding: "utf8" })) {
  if (!name.endsWith(".d.ts")) continue;
  // the compiler leaves ".ts" endings in types; with them the user's compiler would check our sources
  rewrite(join(dist, name), (text) => text.replace(/(from |import\()("\.[^"]*)\.ts"/g, '$1$2.js"'));
}
rewrite(join(dist, "cli.js"), (text) => text.replace(/^#!.*/, "#!/usr/bin/env node"));
for (const asset of ["models/faces.safetensors", "data/figures/fonts", "train/report/page"]) {
  cpSync(join(root, asset), join(dist, asset), { recursive: true });
}
