// Runs a script of this folder in a process of its own, in the runtime that runs the tests.
import { spawn } from "node:child_process";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** How a process ended, and what it printed. */
export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly out: string;
  readonly err: string;
}

/** Runs a script until it ends. It is killed after `seconds`. */
export function runScript(
  script: string,
  words: readonly string[],
  env: object = {},
  seconds = 60,
): Promise<Ended> {
  const flags = process.versions.bun ? [] : ["run", "-A", "--no-check"];
  const path = fileURLToPath(new URL(script, import.meta.url));
  return new Promise((resolve, reject) => {
    const running = spawn(process.execPath, [...flags, path, ...words], {
      env: { ...process.env, DEBUG: "0", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const timer = setTimeout(() => running.kill("SIGKILL"), 1000 * seconds);
    let out = "", err = "";
    running.stdout.on("data", (chunk) => out += chunk);
    running.stderr.on("data", (chunk) => err += chunk);
    running.on("error", reject);
    running.on("close", (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, out, err });
    });
  });
}

/** What a script prints. @throws if it does not end by itself, and well */
export async function outputOf(
  ...given: Parameters<typeof runScript>
): Promise<{ out: string; err: string }> {
  const { code, signal, out, err } = await runScript(...given);
  if (code === 0) return { out, err };
  const [script, words] = given;
  throw new Error(`${script} ${words.join(" ")} ended with ${code ?? signal}:\n${err.slice(-4000)}`);
}
