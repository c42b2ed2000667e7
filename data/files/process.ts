// Identifies processes, so that what an ended one has left behind can be told from the files of one that runs.
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import process from "node:process";
import { isGranted } from "../../src/environment.ts";

/**
 * Identifies the machine and, on Linux, the container, because process numbers are unique only there. It is looked up when
 * something is written and not on import, because Deno asks for permission to read the host name.
 */
export function place(): string {
  return `${hostname()}-${pidNamespace()}`.replace(/[^\w.-]+/g, "_");
}

/**
 * Identifies the container on Linux. Two containers may share a host name and a folder, but they number their processes
 * separately.
 */
function pidNamespace(): string {
  try {
    return isGranted({ name: "read" }) ? readlinkSync("/proc/self/ns/pid") : "";
  } catch {
    return ""; // not Linux, or no permission
  }
}

/**
 * When a process started, in ticks of the system's clock; null where this cannot be found out. Two processes that had the same
 * number one after the other started at different times.
 */
export function startOf(pid: number): number | null {
  return statusOf(pid)?.started ?? null;
}

/**
 * Whether the process `pid` of this place still runs, whoever owns it. "unknown": there is no permission to look.
 * @param started when it started; another process with its number does not count
 */
export function stateOf(pid: number, started: number | null = null): "running" | "ended" | "unknown" {
  const status = statusOf(pid);
  if (status !== null) {
    const isOther = started !== null && status.started !== started;
    return isOther || status.isZombie ? "ended" : "running";
  }
  if (!isGranted({ name: "run" })) return "unknown"; // Deno would ask the user
  try {
    process.kill(pid, 0);
    return "running";
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : "";
    return code === "ESRCH" ? "ended" : code === "EPERM" ? "running" : "unknown";
  }
}

/** Whether the process `pid` of this place may still run. */
export function isAlive(pid: number): boolean {
  return stateOf(pid) !== "ended";
}

/** Reads what Linux says about a process; null elsewhere, without permission, or if there is none. */
function statusOf(pid: number): { readonly started: number; readonly isZombie: boolean } | null {
  if (!isGranted({ name: "read" })) return null;
  let text: string;
  try {
    text = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return null;
  }
  // the second field, the program's name in parentheses, may hold anything
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { started: Number(fields[19]), isZombie: fields[0] === "Z" || fields[0] === "X" };
}
