// Handles Ctrl-C: the first one asks the command to finish cleanly, the second one ends it at once.
import process from "node:process";

/** The exit code of an interrupted process, by the convention of shells: 128 + SIGINT. */
export const interruptedCode = 130;

/**
 * Listens for SIGINT and SIGTERM until `dispose` is called.
 * @param onFirst called at the first signal, to tell the user what happens next
 */
export function listenForInterrupt(onFirst: () => void): { signal: AbortSignal; dispose: () => void } {
  const controller = new AbortController();
  const listener = () => {
    if (controller.signal.aborted) process.exit(interruptedCode);
    controller.abort();
    onFirst();
  };
  process.on("SIGINT", listener);
  process.on("SIGTERM", listener);
  return {
    signal: controller.signal,
    dispose: () => {
      process.off("SIGINT", listener);
      process.off("SIGTERM", listener);
    },
  };
}
