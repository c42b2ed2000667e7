// Reads plain objects from values of unknown type and from JSON texts, which may be damaged.

/** Returns the value itself if it is an object with named fields; null for anything else, including arrays. */
export function record(value: unknown): Record<string, unknown> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Record<string, unknown>
    : null;
}

/**
 * Returns the object that a JSON text describes; null if there is no text, it is invalid, or it describes something
 * else.
 */
export function jsonRecord(text: string | undefined): Record<string, unknown> | null {
  try {
    return record(JSON.parse(text ?? "null"));
  } catch {
    return null;
  }
}
