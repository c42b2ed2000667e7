// Downloads the checkpoints that a command line names (hf:owner/name, https://...), with a progress line.
import process from "node:process";
import { fetchCheckpoint, isRemote } from "../data/index.ts";
import { interruptedCode, listenForInterrupt } from "./interrupt.ts";
import { printAside } from "./print.ts";
import { bytesProgress } from "./progress.ts";

/** What the help says about names. */
export const namesHelp = "hf:owner/name[@revision][/path] or https://... is downloaded once";

/**
 * Returns the path of a checkpoint. What is named by hf: or https: is downloaded first, unless it was before. Ctrl-C ends the
 * program; the part that is here stays, and the same command goes on from there.
 */
export async function fetched(pathOrName: string): Promise<string> {
  if (!isRemote(pathOrName)) return pathOrName;
  const progress = bytesProgress("download");
  let bytes = 0;
  const interrupt = listenForInterrupt(() => {});
  try {
    return await fetchCheckpoint(pathOrName, {
      signal: interrupt.signal,
      notice: progress.log,
      onProgress: (now, total) => progress.report(bytes = now, total),
    });
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    progress.finish();
    const part = bytes > 0 ? `; the same command goes on from ${Math.round(bytes / 1e6)} MB` : "";
    printAside(`tessera: stopped${part}`);
    process.exit(interruptedCode);
  } finally {
    progress.finish();
    interrupt.dispose();
  }
}
