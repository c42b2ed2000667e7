// Workers that a launcher has started on one machine share its cores.
import type { Command } from "commander";
import { launchedProcess, LauncherError } from "../src/launcher.ts";
import { divideCores, findCores } from "../train/distributed/cores.ts";
import { printAside } from "./print.ts";

/** Gives a command its share of the cores before it runs, and before it opens a device. */
export function withDividedCores(command: Command): Command {
  return command.hook("preAction", () => {
    const worker = launchedOrNull();
    if (worker === null || worker.here === null || worker.here === 1) return;
    const warnings = divideCores(findCores(), worker.here);
    if (worker.rank === 0) printAside(...warnings);
  });
}

/** The command itself says what is wrong with variables that contradict each other. */
function launchedOrNull(): ReturnType<typeof launchedProcess> {
  try {
    return launchedProcess();
  } catch (error) {
    if (error instanceof LauncherError) return null;
    throw error;
  }
}
