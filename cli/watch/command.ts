// tessera watch: shows a run in the browser, also while it goes on in another process.
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { Command, InvalidArgumentError, Option } from "commander";
import { isGranted } from "../../src/environment.ts";
import { UsageError } from "../options.ts";
import { print } from "../print.ts";
import { stoppable } from "../stoppable.ts";
import { serveRun, type WatchServer } from "./server.ts";

const examples = `
Examples:
  $ tessera watch runs/2026-05-01T12-30-00_faces
  $ tessera watch runs/2026-05-01T12-30-00_faces --port 8080

The page shows curves of the losses, the codebook, the discriminator and the learning rate, the same pictures at all
steps, the worst reconstructions, and the time left. It follows a run that goes on in another process. Only this
machine can open it; from another one go through SSH: ssh -L 8080:127.0.0.1:8080 MACHINE, with --port 8080. The same
page without a server, as of the last checkpoint, is report.html in the run's folder.`;

export function watchCommand(): Command {
  return new Command("watch").description("show a run in the browser, live while it goes on")
    .argument("<run>", "the folder of the run")
    .addOption(new Option("--port <n>", "the port of the page (default: any free one)").argParser(port))
    .addHelpText("after", examples)
    .action(watch);
}

/** Parses ports. */
function port(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && Number.isInteger(value) && value >= 1 && value < 65536) return value;
  throw new InvalidArgumentError("expected a port from 1 to 65535");
}

async function watch(folder: string, { port = 0 }: { port?: number }): Promise<void> {
  await checkRun(folder);
  // Deno would end the process with a stack trace
  if (!isGranted({ name: "net", host: "127.0.0.1" })) {
    throw new Error("the page needs Deno's permission --allow-net=127.0.0.1, for this machine alone");
  }
  const server = await serveRun(folder, port).catch((error) => {
    throw inWords(error, port);
  });
  try {
    await untilStopped(folder, server);
  } finally {
    await server.close();
  }
}

async function untilStopped(folder: string, { address }: WatchServer): Promise<void> {
  await stoppable(() => `stopped watching ${folder}`, async (signal) => {
    print(`${folder}: ${address} (Ctrl-C ends it)`);
    await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
  });
}

/** @throws if the folder is no run */
async function checkRun(folder: string): Promise<void> {
  const info = await stat(folder).catch(() => null);
  if (!info) throw new UsageError(`${folder}: there is no such folder`);
  if (!info.isDirectory()) throw new UsageError(`${folder} is a file: give the folder of a run`);
  for (const name of ["config.json", "metrics.jsonl"]) {
    if (await stat(join(folder, name)).catch(() => null)) return;
  }
  throw new UsageError(
    `${folder} is no run: it has neither config.json nor metrics.jsonl. A run is a folder such as runs/2026-05-01T12-30-00_faces`,
  );
}

/** Returns the error for a port that cannot be used. */
function inWords(error: unknown, port: number): unknown {
  const { code } = error as { code?: string };
  if (code === "EADDRINUSE" || error instanceof Error && error.name === "AddrInUse") {
    return new Error(`port ${port} is in use: choose another with --port, or leave it out for a free one`);
  }
  if (code === "EACCES") return new Error(`port ${port} is reserved by the system: choose one from 1024 on`);
  return error;
}
