// Plain objects among values of unknown kind, and the JSON texts that files carry, which may be damaged.

/** The value itself if it is an object with named fields; null for anything else, arrays too. */
export function record(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Record<string, unknown>
    : null;
}

/** The object that a JSON text describes; null without a text, or if it cannot be read or describes something else. */
export function jsonRecord(text: string | undefined): Record<string, unknown> | null {
  try {
    return record(JSON.parse(text ?? "null"));
  } catch {
    return null;
  }
}
