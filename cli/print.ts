// Prints lines. All commands print through here, because names, settings and messages may come from a file, a folder or a
// server: what a terminal would obey instead of showing it is escaped.
import { printable } from "../data/formats/text.ts";

let isMuted = false;

/** Whether nothing is printed any more, because another process speaks for this one. */
export function mute(muted: boolean): void {
  isMuted = muted;
}

/** Whether nothing is printed. */
export function muted(): boolean {
  return isMuted;
}

/** Prints lines of results on stdout. A line end inside a line is escaped like everything else. */
export function print(...lines: readonly string[]): void {
  if (isMuted) return;
  for (const line of lines) console.log(printable(line));
}

/** Prints lines on stderr, where warnings and errors go. */
export function printAside(...lines: readonly string[]): void {
  if (isMuted) return;
  for (const line of lines) console.error(printable(line));
}
