// The package as others get it: from npm by npm, Bun and Deno, and from JSR, into empty folders outside the clone. Needs
// npm and its registry. Runs in Deno only, and starts Bun and Node itself.
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import deno from "../../deno.json" with { type: "json" };
import { writeCartoonFaces } from "../../data/index.ts";
import { chromium, visit } from "../support/chromium.ts";
import { job, type Results } from "./consumer/job.ts";
import { openRegistry, type Registry } from "./registry.ts";
import { openWorkplace, output, root, type Workplace } from "./tools.ts";

setDefaultTimeout(120_000);

/** What is missing for these tests. */
async function lack(): Promise<string | null> {
  if (process.versions.bun) return "Deno, which starts Bun and Node itself";
  const answer = await output("npm", ["view", "fflate", "version"], root).catch(String);
  return /^\d/.test(answer) ? null : `npm and its registry (${answer.split("\n")[0]})`;
}

const lacking = await lack();

describe("the package", () => {
  if (lacking !== null) {
    test.skip(`needs ${lacking}`, () => {});
    return;
  }
  let registry: Registry, place: Workplace;
  afterAll(async () => {
    registry.close();
    await place.remove();
  });

  /** A new folder with files of consumer/. */
  async function folderWith(name: string, ...files: string[]): Promise<string> {
    const folder = join(place.folder, name);
    await mkdir(folder);
    for (const file of files) await cp(join(root, "tests/package/consumer", file), join(folder, file));
    return folder;
  }

  /** What use.ts has to print, whoever runs it. */
  interface Printed {
    readonly description: string;
    readonly tokens: readonly number[];
    readonly mean: number;
    readonly losses: readonly number[];
    readonly isOneClass: boolean;
  }
  let first: Printed | null = null;
  function expectResults(line: string): void {
    const printed = JSON.parse(line) as Printed;
    first ??= printed;
    expect(printed.description).toBe(first.description);
    expect(printed.description).toMatch(/^CPU, \d+ threads?, vectors of (128|256) bits$/);
    expect(printed.tokens).toEqual(first.tokens);
    expect(printed.mean).toBeCloseTo(first.mean, 4);
    const [before, after] = printed.losses;
    expect(before).toBeCloseTo(first.losses[0], 4);
    expect(after).toBeLessThan(before);
    expect(printed.isOneClass).toBe(true);
  }

  /** Encodes a picture by the command line; all runtimes have to give the same tokens. */
  let wantedTokens: string | null = null;
  async function expectEncoded(folder: string, program: string, ...words: string[]): Promise<void> {
    expect((await place.run(folder, program, ...words, "--version")).trim()).toBe(deno.version);
    await place.run(folder, program, ...words, "encode", join(place.folder, "faces"), "-o", "tokens.tsv");
    const tokens = await readFile(join(folder, "tokens.tsv"), "utf8");
    expect(tokens).toBe(wantedTokens ??= tokens);
    await place.run(folder, program, ...words, "decode", "tokens.tsv", "-o", "decoded");
    expect((await readdir(join(folder, "decoded"))).length).toBe(1);
  }

  const missing = "the device gpujs needs the package gpu.js: npm install gpu.js, or bun add gpu.js\n";
  const fromNpm = "node_modules/@tessera/vqgan/dist/models/faces.safetensors";

  test("is built by one command, packed and published, with nothing that does not belong to it", async () => {
    registry = await openRegistry();
    place = await openWorkplace(registry.url);
    await writeCartoonFaces(join(place.folder, "faces"), 1, 128, 1);
    await output(process.execPath, ["run", "-A", "scripts/build.ts"], root);
    await output("npm", ["pack", "--ignore-scripts", "--pack-destination", place.folder], root);
    const tarball = (await readdir(place.folder)).find((name) => name.endsWith(".tgz"))!;
    const packed = await registry.addTarball(await readFile(join(place.folder, tarball)));
    await place.run(root, process.execPath, "publish", "--token", "none", "--allow-dirty");

    const sizeOf = (files: ReadonlyMap<string, number>) =>
      [...files.values()].reduce((sum, size) => sum + size);
    expect(sizeOf(registry.published)).toBeLessThan(20e6); // JSR's limit
    const sources = [...registry.published.keys()].filter((name) => name.endsWith(".ts"));
    expect(sources.length).toBeGreaterThan(200);
    for (const name of [...packed.keys(), ...registry.published.keys()]) {
      if (/^(dist\/)?(tests|bench|scripts|examples|docs)\/|fixtures|\.test\./.test(name)) {
        throw new Error(`${name} does not belong into the package`);
      }
    }
    for (const name of sources) {
      const module = `dist/${name.slice(0, -3)}`;
      for (const file of [name, `${module}.js`, `${module}.d.ts`, `${module}.js.map`, `${module}.d.ts.map`]) {
        if (!packed.has(file)) throw new Error(`the tarball lacks ${file}`);
      }
    }
    expect([...packed.keys()].filter((name) => name.includes("faces.safetensors")).length).toBe(1);
  });

  test("runs in Node, by npm", async () => {
    const folder = await folderWith("npm", "use.ts", "missing.ts");
    await writeFile(join(folder, "package.json"), '{ "type": "module" }');
    await place.run(folder, "npm", "install", "@tessera/vqgan");
    for (const name of ["gl", "gpu.js", "webgpu"]) {
      expect([name, existsSync(join(folder, "node_modules", name))]).toEqual([name, false]);
    }
    expectResults(await place.run(folder, "node", "use.ts", fromNpm));
    expect(await place.run(folder, "node", "missing.ts")).toBe(missing);
    await expectEncoded(folder, "npx", "tessera");
    const empty = await folderWith("npx");
    expect(await place.run(empty, "npx", "--yes", "@tessera/vqgan", "--version")).toBe(`${deno.version}\n`);
  });

  test("runs in Bun", async () => {
    const folder = await folderWith("bun", "use.ts", "missing.ts");
    await writeFile(join(folder, "package.json"), "{}");
    await place.run(folder, "bun", "add", "@tessera/vqgan");
    for (const name of ["gl", "gpu.js", "webgpu"]) {
      expect([name, existsSync(join(folder, "node_modules", name))]).toEqual([name, false]);
    }
    expectResults(await place.run(folder, "bun", "use.ts", fromNpm));
    expect(await place.run(folder, "bun", "missing.ts")).toBe(missing);
    await expectEncoded(folder, "bun", "--bun", "x", "tessera");
    const empty = await folderWith("bunx");
    expect(await place.run(empty, "bun", "x", "@tessera/vqgan", "--version")).toBe(`${deno.version}\n`);
  });

  test("runs in Deno, from npm", async () => {
    const folder = await folderWith("deno-npm", "use.ts");
    await writeFile(join(folder, "deno.json"), '{ "nodeModulesDir": "auto" }');
    await place.run(folder, process.execPath, "add", "npm:@tessera/vqgan");
    expectResults(await place.run(folder, process.execPath, "run", "-A", "use.ts", fromNpm));
    await expectEncoded(folder, process.execPath, "run", "-A", "npm:@tessera/vqgan");
  });

  test("runs in Deno, from JSR", async () => {
    const folder = await folderWith("jsr", "use.ts", "types.ts", "alone.ts");
    await place.run(folder, process.execPath, "add", "jsr:@tessera/vqgan");
    const model = new URL(`@tessera/vqgan/${deno.version}/models/faces.safetensors`, registry.url).href;
    expectResults(await place.run(folder, process.execPath, "run", "-A", "use.ts", model));
    await place.run(folder, process.execPath, "check", "types.ts");
    expect(await place.run(folder, process.execPath, "run", "--no-prompt", "alone.ts")).toBe("2,4\n");
    await expectEncoded(folder, process.execPath, "run", "-A", "jsr:@tessera/vqgan/cli");
    // sharp was downloaded when a picture was read, the others never
    const downloaded = await Promise.all(["sharp", "gpu.js", "webgpu", "gl"].map(async (name) => {
      const versions = await readdir(join(place.folder, ".deno/npm/registry.npmjs.org", name)).catch(
        () => [],
      );
      return versions.some((version) => /^\d/.test(version)) ? [name] : [];
    }));
    expect(downloaded.flat()).toEqual(["sharp"]);
  });

  test("needs no more permissions than docs/permissions.md says", async () => {
    const table = await readFile(join(root, "docs/permissions.md"), "utf8");
    const flagsOf = (command: string) =>
      new RegExp(`^\\| .*\`${command}\`.* \\| \`(.+)\` \\|$`, "m").exec(table)![1].split(" ");
    const folder = await folderWith("permissions");
    const tessera = (command: string, ...words: string[]) =>
      place.run(
        folder,
        process.execPath,
        "run",
        "--no-prompt",
        "--no-lock",
        ...flagsOf(command),
        join(root, "cli.ts"),
        command,
        ...words,
      );
    const model = join(root, "models/faces.safetensors");
    expect(await tessera("inspect", model)).toContain("SHA-256");
    await tessera("encode", join(place.folder, "faces"), "-o", "tokens.parquet");
    await tessera("convert", model, "faces.ckpt");
    expect((await readdir(folder)).sort()).toEqual(["faces.ckpt", "tokens.parquet"]);
  });

  test("type-checks in a consumer's project", async () => {
    const folder = join(place.folder, "npm");
    await place.run(folder, "npm", "install", "typescript@7.0.2", "vite@8.4.0");
    await cp(join(root, "tests/package/consumer/types.ts"), join(folder, "types.ts"));
    for (const [module, resolution] of [["esnext", "bundler"], ["nodenext", "nodenext"]]) {
      const flags = ["--noEmit", "--strict", "--target", "es2024", "--module", module];
      await place.run(folder, "npx", "tsc", ...flags, "--moduleResolution", resolution, "types.ts");
    }
  });

  describe("in a page", () => {
    if (!chromium) {
      test.skip("needs Chromium", () => {});
      return;
    }
    interface Answer extends Results {
      readonly page: readonly [description: string, sum: number];
      readonly cores: number;
      readonly error?: string;
    }
    const isolated = {
      "cross-origin-opener-policy": "same-origin",
      "cross-origin-embedder-policy": "require-corp",
    };

    async function expectPage(folder: string): Promise<void> {
      const model = join(root, "models/faces.safetensors");
      await cp(model, join(folder, "faces.safetensors"));
      const here = await job(new Blob([await readFile(model)]));
      for (const headers of [isolated, {}]) {
        const { error, page, cores, description, ...there } = await visit<Answer>(folder, { headers });
        expect(error).toBe(undefined);
        expect(page).toEqual(["CPU, 1 thread, vectors of 128 bits", 200_000]);
        const threads = headers === isolated ? Math.min(cores, 16) : 1;
        expect(description).toBe(
          `CPU, ${threads} ${threads === 1 ? "thread" : "threads"}, vectors of 128 bits`,
        );
        expect(there.tokens).toEqual(here.tokens);
        expect(there.mean).toBeCloseTo(here.mean, 5);
        expect(there.loss).toBeCloseTo(here.loss, 5);
      }
    }

    test("works when Vite has built it", async () => {
      const folder = join(place.folder, "npm");
      for (const name of ["page.ts", "worker.ts", "job.ts"]) {
        await cp(join(root, "tests/package/consumer", name), join(folder, name));
      }
      await writeFile(join(folder, "index.html"), '<script type="module" src="page.ts"></script>');
      // a worker that loads some of its code later has to be a module
      const config = 'export default { worker: { format: "es" }, build: { target: "esnext" } };';
      await writeFile(join(folder, "vite.config.js"), config);
      await place.run(folder, "npx", "vite", "build");
      await expectPage(join(folder, "dist"));
    });

    test("works when deno bundle has built it", async () => {
      const folder = await folderWith("bundle", "page.ts", "worker.ts", "job.ts");
      await writeFile(join(folder, "deno.json"), "{}");
      await place.run(folder, process.execPath, "add", "jsr:@tessera/vqgan");
      const words = ["bundle", "--platform", "browser", "--code-splitting", "--outdir", "built"];
      await place.run(folder, process.execPath, ...words, "page.ts", "worker.ts");
      const built = join(folder, "built");
      await cp(join(built, "worker.js"), join(built, "worker.ts")); // the name that page.ts has for it
      await writeFile(join(built, "index.html"), '<script type="module" src="page.js"></script>');
      await expectPage(built);
    });
  });
});
