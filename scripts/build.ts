// Builds npm's package into dist/: JavaScript with types and maps, one file for each module, and the small model. The
// sources lie beside dist/ in the package, where the maps look for them. `npm pack` runs this first.
//
//   deno task build        or: bun run build
import { execFileSync } from "node:child_process";
import { cpSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url)), dist = join(root, "dist");

/** The compiler, which is a program of the system, and not JavaScript, from TypeScript 7 on. */
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
  // the compiler leaves the endings as they are in types, where the sources would be checked as the user's own
  rewrite(join(dist, name), (text) => text.replace(/(from |import\()("\.[^"]*)\.ts"/g, '$1$2.js"'));
}
rewrite(join(dist, "cli.js"), (text) => text.replace(/^#!.*/, "#!/usr/bin/env node"));
for (const asset of ["models/faces.safetensors", "data/figures/fonts"]) {
  cpSync(join(root, asset), join(dist, asset), { recursive: true });
}
