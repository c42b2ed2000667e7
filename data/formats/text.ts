// Formats numbers, sizes and names as text for a terminal.

/**
 * Control characters, line ends of every kind, halves of surrogate pairs, and marks that reverse the direction of text: a
 * terminal does not show them but obeys them.
 */
const obeyed = /[\p{Cc}\p{Zl}\p{Zp}\p{Cs}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu;

/**
 * Makes one line of text safe for a terminal: what it would obey is written as \u001b. Names, settings and messages from a
 * file, a folder or a server pass through here before anything prints them. In JSON the text keeps its meaning.
 */
export function printable(text: string): string {
  return text.replace(obeyed, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Shortens a text to `length` characters at most, and says how long it is. */
export function shortened(text: string, length: number): string {
  if (text.length <= length) return text;
  const note = `... (${text.length} characters)`;
  return text.slice(0, Math.max(0, length - note.length)) + note;
}

const units = ["B", "kB", "MB", "GB", "TB"] as const;

/** Formats 4200000 bytes as "4.2 MB". */
export function formatBytes(bytes: number): string {
  const power = bytes < 1000 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${power === 0 ? bytes : (bytes / 1000 ** power).toFixed(1)} ${units[power]}`;
}

/** Formats 16384 as "16 384". */
export function formatCount(n: number): string {
  return String(n).replace(/\B(?=(\d{3})+$)/g, " ");
}

/**
 * Formats rows as lines, with columns padded to the widest cell. The first column is aligned to the left, the others to
 * the right.
 */
export function formatTable(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, i) => rows.reduce((most, row) => Math.max(most, row[i]?.length ?? 0), 0)) ??
    [];
  return rows.map((row) =>
    "  " + row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ")
  );
}
