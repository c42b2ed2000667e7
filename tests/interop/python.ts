// Runs jobs of the Python scripts beside this file. `. .ci/pythons` makes the Pythons that have the packages for them.
import { describe, test } from "bun:test";
import { spawn, spawnSync } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** The environment variable that names the Python of a script; without it, it is python3. */
const variables = {
  "packages.py": "PYTHON",
  "diffusers.py": "PYTHON",
  "hub.py": "PYTHON",
  "boards.py": "BOARDS_PYTHON",
  "notebooks.py": "NOTEBOOKS_PYTHON",
  "authors.py": "AUTHORS_PYTHON",
} as const;

type Script = keyof typeof variables;

/** How long a job may take, in ms. The slowest takes ten seconds on two free cores. */
const deadline = 300_000;

/** The deadline of a test, beyond that of the jobs in it, which can say what Python did last. */
export const testDeadline = 3 * deadline;

/** Runs a job of a script and returns the JSON that it prints last. @throws with Python's last lines if it fails */
export type RunJob = <T>(name: string, ...words: string[]) => T;

/** The same while this process goes on, for jobs that ask a server in it. */
export type StartJob = <T>(name: string, ...words: string[]) => Promise<T>;

/** A group of tests with a Python that has the packages they need. Without one, a skipped test says what is missing. */
export function describePython(
  script: Script,
  needed: readonly string[],
  group: (job: RunJob, start: StartJob) => void,
): void {
  const python = process.env[variables[script]] ?? "python3";
  const job: RunJob = (name, ...words) => runJob(python, script, name, words);
  const start: StartJob = (name, ...words) => startJob(python, script, name, words);
  const versions = versionsIn(python, job, needed);
  const missing = needed.filter((name) => versions[name] === null);
  if (missing.length === 0) {
    const found = needed.map((name) => `${name} ${versions[name]}`);
    describe(`with ${found.join(", ")}`, () => group(job, start));
  } else {
    const advice = `set ${variables[script]} to one that has, which ". .ci/pythons" does`;
    test.skip(`${script}: ${python} has no ${missing.join(", ")}; ${advice}`, () => {});
  }
}

function versionsIn(python: string, job: RunJob, needed: readonly string[]): Record<string, string | null> {
  const canTell = spawnSync(python, ["-c", "import importlib.metadata"]).status === 0; // from Python 3.8 on
  return canTell ? job("versions", ...needed) : Object.fromEntries(needed.map((name) => [name, null]));
}

function runJob<T>(python: string, script: Script, name: string, words: readonly string[]): T {
  const options = { encoding: "utf8", timeout: deadline, maxBuffer: 2 ** 26 } as const;
  const { status, stdout, stderr, error } = spawnSync(python, [pathOf(script), name, ...words], options);
  return resultOf(`${python} ${script} ${name}`, { status, stdout, stderr, error });
}

async function startJob<T>(
  python: string,
  script: Script,
  name: string,
  words: readonly string[],
): Promise<T> {
  const child = spawn(python, [pathOf(script), name, ...words], {
    timeout: deadline,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "", stderr = "";
  child.stdout.on("data", (text) => stdout += text);
  child.stderr.on("data", (text) => stderr += text);
  const status = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return resultOf(`${python} ${script} ${name}`, { status, stdout, stderr });
}

const pathOf = (script: Script): string => fileURLToPath(new URL(script, import.meta.url));

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly error?: Error;
}

function resultOf<T>(job: string, { status, stdout, stderr, error }: Ended): T {
  if (status === 0) return JSON.parse(stdout.trim().split("\n").at(-1)!) as T;
  const last = (stderr.trim() || stdout.trim()).split("\n").slice(-20).join("\n");
  throw new Error(`${job}: ${error?.message ?? `exit code ${status}`}\n${last}`);
}
