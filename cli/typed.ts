// Commands in messages, as this call was typed: somebody who has no command `tessera` can copy them all the same.
import { basename, relative, sep } from "node:path";
import process from "node:process";
import { variable } from "../src/environment.ts";

/** What is known about how this process was started. */
export interface Call {
  readonly runtime: "deno" | "bun" | "node";
  /** The path or the address of the program. */
  readonly script: string;
  /** Whether npx started it. */
  readonly isNpx: boolean;
  /** What a shell's function says that it is called: TESSERA_COMMAND. */
  readonly name?: string;
}

function thisCall(): Call {
  const { bun, deno } = process.versions as Record<string, string | undefined>;
  return {
    runtime: bun ? "bun" : deno ? "deno" : "node",
    script: process.argv[1] ?? "",
    isNpx: variable("npm_command") === "exec",
    name: variable("TESSERA_COMMAND"),
  };
}

/** Returns a command of Tessera as it would be typed here. @param words such as finetune, --resume and a path */
export function typed(words: readonly string[], call: Call = thisCall()): string {
  return [programOf(call), ...words.map(quoted)].join(" ");
}

function programOf({ runtime, script, isNpx, name }: Call): string {
  if (name) return name;
  const npx = isNpx ? "npx --yes " : "";
  if (/^https?:/.test(script)) return `${npx}deno run -A jsr:@tessera/vqgan/cli`;
  const parts = script.split(sep);
  if (parts.includes("_npx")) return "npx @tessera/vqgan"; // npm's cache of what npx has fetched
  if (parts.includes("node_modules") || !/^cli\.[jt]s$/.test(basename(script))) {
    return isNpx ? "npx tessera" : "tessera";
  }
  const near = relative(process.cwd(), script), path = near.startsWith("..") ? script : near;
  return `${npx}${{ deno: "deno run -A", bun: "bun", node: "node" }[runtime]} ${quoted(path)}`;
}

/** A word as a shell needs it. */
function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
