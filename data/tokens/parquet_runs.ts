// Checks Parquet's mixture of runs and bit-packed groups before it is decoded into an array of a known length.

/**
 * Walks over the runs as hyparquet does, until there are `count` values or the bytes end.
 * @returns what is wrong, or null
 */
export function checkRuns(bytes: Uint8Array, width: number, count: number): string | null {
  if (width > 32) return `values of ${width} bits`;
  for (let at = 0, seen = 0; seen < count && at < bytes.length;) {
    let head = 0, shift = 0, byte: number;
    do {
      if (at >= bytes.length || shift > 28) return "a run cut off";
      byte = bytes[at++];
      head += (byte & 127) * 2 ** shift;
      shift += 7;
    } while (byte & 128);
    const isPacked = head % 2 === 1, half = Math.floor(head / 2);
    if (head >= 2 ** 31) return `a run of ${half} values`;
    if (isPacked) {
      // a group has eight values; the last may be partly unused, and hyparquet itself reports missing bytes
      if (half > Math.ceil((count - seen) / 8) + 1 && half * width > bytes.length - at) {
        return `${half} packed groups for ${count - seen} values`;
      }
      if (width === 0 && half > Math.ceil(count / 8)) {
        return `${half} packed groups for ${count - seen} values`;
      }
      at += half * width;
      seen += half * 8;
    } else {
      if (half > count) return `a run of ${half} values of ${count}`;
      at += Math.ceil(width / 8);
      seen += half;
    }
  }
  return null;
}
