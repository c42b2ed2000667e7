// Comparing what a module has with what a file offers: keys and shapes, before a single value is read.
import type { Shape } from "../src/index.ts";

export interface LoadReport {
  /** Keys that both sides have in the same shape. */
  readonly matched: readonly string[];
  /** Keys of the module that the source lacks. */
  readonly missing: readonly string[];
  /** Keys of the source that the module lacks. */
  readonly unexpected: readonly string[];
  readonly mismatched: readonly { readonly key: string; readonly expected: Shape; readonly found: Shape }[];
}

export function matchState(
  own: ReadonlyMap<string, { readonly shape: Shape }>,
  source: ReadonlyMap<string, Shape>,
): LoadReport {
  const matched: string[] = [], missing: string[] = [];
  const mismatched: { key: string; expected: Shape; found: Shape }[] = [];
  for (const [key, { shape }] of own) {
    const found = source.get(key);
    if (!found) missing.push(key);
    else if (`${found}` === `${shape}`) matched.push(key);
    else mismatched.push({ key, expected: shape, found });
  }
  return { matched, missing, unexpected: [...source.keys()].filter((key) => !own.has(key)), mismatched };
}

/** A table of what did not fit, at most `limit` lines a kind; "" when everything did. */
export function formatReport(report: LoadReport, limit = 10): string {
  const lines = [
    ...section("missing in the file", report.missing, limit),
    ...section("not used by the model", report.unexpected, limit),
    ...section(
      "of another shape",
      report.mismatched.map(({ key, expected, found }) => `${key}: model [${expected}], file [${found}]`),
      limit,
    ),
  ];
  return lines.join("\n");
}

function section(title: string, items: readonly string[], limit: number): string[] {
  if (items.length === 0) return [];
  const rest = items.length > limit ? [`  ... and ${items.length - limit} more`] : [];
  return [`${items.length} ${title}:`, ...items.slice(0, limit).map((item) => `  ${item}`), ...rest];
}
