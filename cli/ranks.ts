// The options --ranks and --all-reduce. If an MPI launcher (mpirun, srun) has started the command several times, all these
// processes, the ranks, do its work together. Only rank 0 prints; another rank prints only an error that rank 0 does not
// have.
import { type Command, Option } from "commander";
import { findLauncher } from "../train/distributed/launcher.ts";
import { RankLostError } from "../train/distributed/mpi.ts";
import { type OpenRanks, openRanks } from "../train/distributed/open.ts";
import { oneRank, type Ranks } from "../train/distributed/ranks.ts";
import { checkSameSettings } from "../train/distributed/same.ts";
import { RankFailedError } from "../train/distributed/together.ts";
import type { Interrupt } from "./interrupt.ts";
import { UsageError } from "./options.ts";
import { mute, printAside } from "./print.ts";

interface Flags {
  readonly ranks: "auto" | "mpi" | "one";
  /** Only of commands that train. */
  readonly allReduce?: "ordered" | "fast";
}

/** Milliseconds that every rank but the first waits before it prints an error. If rank 0 has the same error, all have ended by then. */
const patience = 1500;

let opened: OpenRanks | null = null;
/** Which of the processes that a launcher has started this is. */
let rank = 0;

/** The option of a command that several processes may share. */
export function ranksOption(): Option {
  return new Option(
    "--ranks <kind>",
    "mpi: work together with the other processes that mpirun or srun has started; one: work alone; " +
      "auto: mpi if there are other processes, else one",
  ).choices(["auto", "mpi", "one"]).default("auto");
}

/** How they add up gradients. */
export function allReduceOption(): Option {
  return new Option(
    "--all-reduce <kind>",
    "how gradients are added up over all processes; ordered: with the same bits as one process " +
      "with --accumulate; fast: in the order that the MPI library chooses",
  ).choices(["ordered", "fast"]).default("ordered");
}

/**
 * Opens the ranks before a command with these options runs, and before it opens a device. It is an error if they were not all
 * started with the same options.
 */
export function withRanks(command: Command): Command {
  return command.hook("preAction", async () => {
    const { ranks, allReduce } = command.opts<Flags>();
    rank = ranks === "one" ? 0 : findLauncher()?.rank ?? 0;
    mute(rank > 0);
    opened = await openRanks({ ranks, allReduce });
    rank = opened.ranks.rank;
    mute(rank > 0);
    await checkSameSettings(opened.ranks, wordsOf(command));
    if (opened.description !== null) printAside(`ranks: ${opened.description}`);
    printAside(...opened.warnings);
  });
}

/** What was typed, by the names of the options. */
function wordsOf(command: Command): Record<string, unknown> {
  const given = command.options.map((option) => {
    const value = command.getOptionValue(option.attributeName());
    // --no-x sets the value of --x to false
    const typed = option.negate ? value === false || undefined : value === false ? undefined : value;
    return [option.long, typed];
  });
  return { ...Object.fromEntries(given), "the rest of the command": command.args };
}

/** Refuses to run a command in several processes at once, each of which would do all of its work and write the same files. */
export function inOneProcess(command: Command): Command {
  return command.hook("preAction", () => {
    const launcher = findLauncher();
    if (launcher === null) return;
    rank = launcher.rank; // one of them says so
    throw new UsageError(
      `${command.name()} runs in one process, but ${launcher.name} has started ${launcher.size} ` +
        `(${launcher.variable}=${launcher.size}): start it without the launcher, or with -n 1`,
    );
  });
}

/** The processes that work together. */
export function currentRanks(): Ranks {
  return opened?.ranks ?? oneRank;
}

/** The exit code of ranks that end together, of which perhaps only one was told to stop. */
export async function commonCode({ signal, code }: Interrupt): Promise<number> {
  const codes = await currentRanks().gather(signal.aborted ? code : null);
  return codes.find((code) => code !== null) ?? code;
}

/** Ends MPI in good order, when a command has ended on all ranks. */
export async function closeRanks(): Promise<void> {
  const warning = await opened?.close();
  if (warning) printAside(`warning: ${warning}`);
  opened = null;
}

/** Waits until this rank may speak about an error. @returns what to put before the message */
export async function turnToSpeak(error: unknown): Promise<string> {
  const lost = error instanceof RankLostError ? error.ranks : [];
  const speaker = Array.from({ length: rank }, (_, i) => i).find((other) => !lost.includes(other)) ?? rank;
  const turns = error instanceof RankFailedError ? 2 : rank === speaker ? 0 : 1; // the rank that failed says it best
  if (turns > 0) await new Promise((resolve) => setTimeout(resolve, turns * patience));
  mute(false);
  return rank === 0 ? "" : `rank ${rank}: `;
}

/** Ends all ranks, after this one has said why. */
export async function abortRanks(): Promise<void> {
  await opened?.abort();
}
