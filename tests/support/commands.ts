// What the tests of the command line share: a folder with cartoon faces and a tiny model, and ways to run a command.
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runCommandLine } from "../../cli/program.ts";
import { writeCartoonFaces } from "../../data/index.ts";
import { VQGAN } from "../../nn/index.ts";
import { Random } from "../../src/index.ts";
import { saveWeights } from "../../train/index.ts";
import { smallConfig } from "./small_model.ts";

// hints repeat how the program was started, and the tests themselves may have been started by npx
delete process.env.npm_command;

/** Makes a folder, which the caller removes. `run` is a command line that trains the model on the faces. */
export async function commandFixture(): Promise<{
  readonly folder: string;
  readonly faces: string;
  readonly model: string;
  readonly run: readonly string[];
}> {
  const folder = await mkdtemp(join(tmpdir(), "tessera-cli-"));
  const faces = join(folder, "faces"), model = join(folder, "tiny.safetensors");
  await writeCartoonFaces(faces, 5, 48, 1);
  const weights = new VQGAN(smallConfig({ perceptualWeight: 0 }), new Random(1), { withLoss: true });
  await saveWeights(model, weights);
  weights.dispose();
  const run = [
    ...["finetune", "--from", model, "--data", faces, "--size", "16", "--batch", "2", "--lr", "1e-3"],
    ...["--no-lpips", "--out", join(folder, "runs")],
  ];
  return { folder, faces, model, run };
}

export interface Answer {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command line in this process. */
export async function tessera(...words: string[]): Promise<Answer> {
  const { log, error, warn } = console, write = process.stdout.write;
  let out = "", err = "";
  console.log = (...parts: unknown[]) => void (out += parts.join(" ") + "\n");
  console.error = console.warn = (...parts: unknown[]) => void (err += parts.join(" ") + "\n");
  process.stdout.write = ((text: string | Uint8Array) => {
    out += text;
    return true;
  }) as typeof process.stdout.write;
  try {
    return { code: await runCommandLine(words), out, err };
  } finally {
    Object.assign(console, { log, error, warn });
    process.stdout.write = write;
    process.exitCode = 0;
  }
}

/** Runs a command line as users do, in a process of the current runtime. */
export function start(...words: string[]): ChildProcess {
  return startWith({}, ...words);
}

/** Runs a command line as a launcher does, with variables of its own. */
export function startWith(variables: Readonly<Record<string, string>>, ...words: string[]): ChildProcess {
  const cli = fileURLToPath(new URL("../../cli.ts", import.meta.url));
  const runner = process.versions.bun ? [cli] : ["run", "-A", "--no-check", cli];
  return spawn(process.execPath, [...runner, ...words], {
    ...{ stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...variables } },
  });
}

export async function ended(child: ChildProcess): Promise<Answer> {
  let out = "", err = "";
  child.stdout?.on("data", (text) => out += text);
  child.stderr?.on("data", (text) => err += text);
  const code = await new Promise<number>((resolve) => {
    // if a child ends with code 130 after a signal, Deno reports that the signal ended it
    child.on("close", (code, signal) => resolve(code ?? (signal === "SIGINT" ? 130 : -1)));
  });
  return { code, out, err };
}
