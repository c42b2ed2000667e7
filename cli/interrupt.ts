// Ctrl-C: the first asks for a good end, the second leaves at once.
import process from "node:process";

/** Exit code of a process that was interrupted, as shells count it: 128 + SIGINT. */
export const interruptedCode = 130;

/**
 * Listens for Ctrl-C and for being terminated until disposed of.
 * @param onFirst told once, to say what happens next
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
