// Gives V8 the flags with which the kernels run twice as fast (src/backends/wasm/v8_flags.ts), before anything else is
// loaded: in Deno by starting the program again, in Node by setting them. docs/decisions.md says why.
import { spawnSync } from "node:child_process";
import process from "node:process";
import v8 from "node:v8";
import { hasWideFlags, WIDE_FLAGS } from "../src/backends/wasm/v8_flags.ts";
import { variable } from "../src/environment.ts";
import { libc, startAgain } from "./start_again.ts";

/** The part of Deno's namespace that says what is allowed. */
interface Deno {
  readonly build: { readonly standalone: boolean };
  readonly permissions: { querySync(descriptor: object): { readonly state: string } };
}

let lacking = "";

/** Why V8 does not have the flags, for `tessera doctor`; empty if it has them. */
export function whyNotFast(): string {
  return lacking;
}

/** Sees to it that V8 has the flags, if it can. In Deno the program then starts again, and this does not return. */
export function startFast(): void {
  try {
    lacking = tryFast();
  } catch (error) {
    lacking = error instanceof Error ? error.message : String(error);
  }
}

function tryFast(): string {
  const { Deno } = globalThis as { Deno?: Deno };
  if (WIDE_FLAGS.length === 0) return "only V8 on x64 has more";
  if (hasWideFlags()) return "";
  if (Number(variable("TESSERA_FAST") ?? 1) === 0) return "TESSERA_FAST=0 forbids 256";
  if (Deno?.build.standalone) return "a compiled program has the flags that it was compiled with";
  if (Deno && process.platform !== "linux") return `256 with DENO_V8_FLAGS=${WIDE_FLAGS.join()}`;
  const missing = Deno ? missingPermissions(Deno) : [];
  if (missing.length > 0) return `256 needs ${missing.join(" ")}`;
  const unknown = unknownFlags(WIDE_FLAGS);
  if (unknown.length > 0) return `this V8 does not know ${unknown.join(" ")}`;
  return Deno ? restart() : setInNode();
}

/** What Deno must allow for reading and setting variables, for asking V8 for its flags, and for starting again. */
function missingPermissions({ permissions }: Deno): string[] {
  const needed = {
    "--allow-env": { name: "env" },
    "--allow-run": { name: "run", command: process.execPath },
    "--allow-ffi": { name: "ffi", path: libc },
  };
  const isMissing = (descriptor: object) => permissions.querySync(descriptor).state !== "granted";
  return Object.entries(needed).filter(([, descriptor]) => isMissing(descriptor)).map(([flag]) => flag);
}

/** Which of the flags this V8 does not know. Deno would end with an error if it were started with them. */
export function unknownFlags(flags: readonly string[]): string[] {
  const { stdout } = spawnSync(process.execPath, ["--v8-options"], { encoding: "utf8", maxBuffer: 2 ** 24 });
  return flags.filter((flag) => !stdout?.includes(` --${flag.replace(/^--(no-)?/, "")} (`));
}

/** Starts the program again with the flags. @returns only if that fails, and then why */
function restart(): string {
  const before = process.env.DENO_V8_FLAGS;
  process.env.DENO_V8_FLAGS = [...before ? [before] : [], ...WIDE_FLAGS].join();
  try {
    startAgain(process.execPath);
  } finally {
    if (before === undefined) delete process.env.DENO_V8_FLAGS;
    else process.env.DENO_V8_FLAGS = before;
  }
  return "starting again failed";
}

/** Node, other than Deno, lets a program change the flags of the V8 that runs it. Its workers have the same ones. */
function setInNode(): string {
  for (const flag of WIDE_FLAGS) v8.setFlagsFromString(flag);
  process.execArgv.push(...WIDE_FLAGS); // where hasWideFlags looks
  return "";
}
