// Reads small text files that people made: lists and captions.

/**
 * Returns the text of a file in UTF-8, or in UTF-16 if it has a byte order mark.
 * @throws a one-line error if it is neither
 */
export function decodeText(path: string, bytes: Uint8Array): string {
  const [first, second] = bytes;
  const isLittle = first === 0xff && second === 0xfe, isBig = first === 0xfe && second === 0xff;
  const encoding = isLittle ? "utf-16le" : isBig ? "utf-16be" : "utf-8";
  try {
    const text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
    if (!text.includes("\0")) return text;
  } catch {
    // reported below
  }
  throw new Error(
    `${path}: this text is not in UTF-8 (nor in UTF-16 with a byte order mark); save it as UTF-8`,
  );
}
