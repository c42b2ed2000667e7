// Reads plain objects from values of unknown type and from JSON texts, which may be damaged or hostile.

/**
 * Limits for JSON from a file. The header of 200,000 tensors has 2.4 million values; three million of any kind need less than
 * 1 GB once they are parsed.
 */
const maxValues = 3_000_000, maxDepth = 100;

const [quote, comma, openList, backslash, closeList, openObject, closeObject] = [...'",[\\]{}'].map((c) =>
  c.charCodeAt(0)
);

/**
 * Checks how much a JSON text would make, without making it. Invalid JSON may pass.
 * @throws Error naming the limit
 */
function checkSize(text: string): void {
  for (let at = 0, depth = 0, values = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === quote) {
      do at = text.indexOf('"', at + 1); while (at > 0 && isEscaped(text, at));
      if (at < 0) return;
      continue;
    }
    if (code === openList || code === openObject) depth++;
    else if (code === closeList || code === closeObject) depth--;
    else if (code !== comma) continue;
    if (depth > maxDepth) throw new Error(`it has more than ${maxDepth} levels`);
    if (++values > maxValues) throw new Error(`it has more than ${maxValues} values`);
  }
}

/** Whether the character at `at` follows an odd number of backslashes. */
function isEscaped(text: string, at: number): boolean {
  let from = at;
  while (text.charCodeAt(from - 1) === backslash) from--;
  return (at - from) % 2 === 1;
}

/**
 * Parses JSON from a file.
 * @throws Error saying in a few words what is wrong: "it is not JSON", or that it is too deep or too large
 */
export function parseJson(text: string): unknown {
  checkSize(text);
  try {
    return JSON.parse(text);
  } catch {
    throw new Error("it is not JSON");
  }
}

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
    return record(parseJson(text ?? "null"));
  } catch {
    return null;
  }
}
