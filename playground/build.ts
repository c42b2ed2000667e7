// Bundles the playground into a folder that any static host serves, under any path.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { shippedModel } from "./app.ts";
import { writeBook } from "./book.ts";

const here = fileURLToPath(new URL(".", import.meta.url)), root = join(here, "..");

/** By this file a folder is recognised as a playground. */
const program = "service_worker.js";

/**
 * Writes the playground into a folder.
 * @throws if the folder holds something else, or the bundler fails; then nothing is written
 */
export function buildPlayground(folder: string): void {
  const target = resolve(folder);
  const isOther = existsSync(target) &&
    (!statSync(target).isDirectory() || readdirSync(target).length > 0 && !existsSync(join(target, program)));
  if (isOther) throw new Error(`${folder} holds something other than a playground: name a new folder`);
  const made = mkdtempSync(join(tmpdir(), "tessera-playground-"));
  try {
    bundle(made, ["main.ts", "engine/worker.ts"]);
    bundle(made, ["service_worker.ts"]);
    for (const name of ["index.html", "style.css", "panels.css"]) cpSync(join(here, name), join(made, name));
    cpSync(join(root, "docs/playground/faces.jpg"), join(made, "faces.jpg"));
    cpSync(join(root, "models", shippedModel), join(made, shippedModel));
    writeBook(join(made, "book"));
    nameFiles(made);
    rmSync(target, { recursive: true, force: true });
    mkdirSync(target, { recursive: true });
    cpSync(made, target, { recursive: true });
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
}

/** Bundles programs with the runtime's own bundler. Parts that are loaded later become files of their own. */
function bundle(folder: string, programs: readonly string[]): void {
  const paths = programs.map((name) => join(here, name)), isOne = programs.length === 1;
  // core.ts loads it for cartoons, which the page does not draw: it would be 106 KB of 250
  const words = process.versions.bun
    ? [
      "build",
      ...paths,
      "--target=browser",
      "--format=esm",
      "--minify",
      "--external=facesjs",
      `--outdir=${folder}`,
    ]
      .concat(isOne ? [] : ["--splitting"])
    : [
      "bundle",
      "--quiet",
      "--platform=browser",
      "--minify",
      "--external=facesjs",
      `--outdir=${folder}`,
      ...paths,
    ]
      .concat(isOne ? [] : ["--code-splitting"]);
  execFileSync(process.execPath, words, { cwd: root, stdio: ["ignore", "ignore", "inherit"] });
}

/** Tells the service worker which files there are, with a hash by which it notices a new version. */
function nameFiles(folder: string): void {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) =>
    name.replaceAll("\\", "/")
  );
  const files = names.filter((name) => statSync(join(folder, name)).isFile()).sort();
  const hash = createHash("sha256");
  for (const name of files) hash.update(`${name} `).update(readFileSync(join(folder, name)));
  const version = hash.digest("hex").slice(0, 16);
  const facts = { version, files: ["./", ...files.filter((name) => name !== program)], model: shippedModel };
  const path = join(folder, program);
  writeFileSync(path, `self.playground=${JSON.stringify(facts)};\n${readFileSync(path, "utf8")}`);
}
