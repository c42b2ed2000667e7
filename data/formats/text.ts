// Formats numbers, sizes and names as text for a terminal.

/** Replaces everything that moves a terminal's cursor or breaks the line, because names may come from hostile files. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}|\p{Zl}|\p{Zp}/gu, "?");
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
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows.map((row) =>
    "  " + row.map((cell, i) => i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)).join("  ")
  );
}
