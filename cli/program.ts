// The command line: combines the commands, runs one, and reports failures.
import process from "node:process";
import { Command, CommanderError, type Option } from "commander";
import deno from "../deno.json" with { type: "json" };
import { variable } from "../src/environment.ts";
import { withDividedCores } from "./cores.ts";
import { decodeCommand } from "./decode.ts";
import { demoCommand } from "./demo.ts";
import { withDevice } from "./device.ts";
import { doctorCommand } from "./doctor/command.ts";
import { encodeCommand } from "./encode.ts";
import { benchCommand } from "./bench/command.ts";
import { convertCommand } from "./convert.ts";
import { evaluateCommand } from "./evaluate/command.ts";
import { finetuneCommand } from "./finetune/command.ts";
import { inspectCommand } from "./inspect.ts";
import { inWordsOfOptions } from "./messages.ts";
import { UsageError } from "./options.ts";
import { say } from "./output.ts";
import { printAside } from "./print.ts";
import { abortRanks, closeRanks, inOneProcess, turnToSpeak, withRanks } from "./ranks.ts";
import { reconstructCommand } from "./reconstruct.ts";
import { Interrupted } from "./stoppable.ts";
import { tokensCommand } from "./tokens/command.ts";
import { typed } from "./typed.ts";
import { watchCommand } from "./watch/command.ts";

const examples = `
Examples:
  $ tessera demo                                     takes a few minutes, needs nothing
  $ tessera inspect last.ckpt
  $ tessera reconstruct --model last.ckpt face.jpg
  $ tessera finetune --from last.ckpt --data faces/
  $ tessera <command> --help                         options and examples of a command

Exit codes: 0 success, 1 failure, 2 incorrect use, 130 interrupted (other signals: 128 and their number).
DEBUG=1 prints an error's stack trace.`;

function buildProgram(): Command {
  const program = new Command("tessera")
    .description("VQGAN: turns pictures into tokens and back, and fine-tunes, on the CPU and on GPUs")
    .version(deno.version, "-V, --version")
    .addHelpText("after", examples);
  const commands = [
    withDevice(inOneProcess(demoCommand())),
    doctorCommand(),
    inspectCommand(),
    withDevice(inOneProcess(reconstructCommand())),
    withDevice(withDividedCores(encodeCommand())),
    withDevice(inOneProcess(decodeCommand())),
    tokensCommand(),
    withDevice(withRanks(finetuneCommand())),
    withDevice(withRanks(evaluateCommand())),
    watchCommand(),
    inOneProcess(convertCommand()),
    benchCommand(),
  ];
  for (const command of commands) program.addCommand(command);
  program.helpCommand(false);
  for (const command of [program, ...program.commands.flatMap((one) => [one, ...one.commands])]) {
    command.exitOverride().configureOutput({ writeErr: () => {} }).configureHelp({ helpWidth: 110 });
  }
  return program;
}

/** Runs a command line such as ["inspect", "last.ckpt"]. @returns the exit code */
export async function runCommandLine(words: readonly string[]): Promise<number> {
  const program = buildProgram();
  let options: readonly Option[] = [];
  program.hook("preAction", (_program, command) => void (options = command.options));
  try {
    if (words.length === 0) program.outputHelp();
    else await program.parseAsync(words, { from: "user" });
    await closeRanks();
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return 0; // --help and --version
      return fail(`${oneLine(error.message)}; see ${typed([...commandOf(program, words), "--help"])}`, 2);
    }
    if (error instanceof Interrupted) {
      say(error.message);
      return error.code;
    }
    const who = await turnToSpeak(error);
    if (variable("DEBUG") && error instanceof Error) printAside(...(error.stack ?? "").split("\n"));
    const code = fail(who + inWordsOfOptions(error, options), error instanceof UsageError ? 2 : 1);
    await abortRanks();
    return code;
  }
}

/** Prints an error as one line, also one whose message is a list. */
function fail(message: string, code: number): number {
  printAside(`tessera: ${message.replace(/:?\s*\n\s*/g, "; ")}`);
  return code;
}

/** Returns commander's message without its prefix, with the suggestion on the same line. */
function oneLine(message: string): string {
  return message.replace(/^error: /, "").replace(/\.?\s*\n\s*/g, " ").replace(/\.$/, "").trim();
}

/** Returns the command among the words, and the one within it, if there is one. */
function commandOf(program: Command, words: readonly string[]): string[] {
  const at = words.findIndex((word) => program.commands.some((command) => command.name() === word));
  if (at < 0) return [];
  const found = program.commands.find((command) => command.name() === words[at])!;
  return [words[at], ...commandOf(found, words.slice(at + 1))];
}
