// Decodes Parquet's mixture of runs and bit-packed groups, which levels and indices into a dictionary are stored as.
import { expect } from "./parquet_footer.ts";

/**
 * Reads `count` numbers of `width` bits.
 * @throws ParquetProblem if the bytes hold fewer
 */
export function readRuns(bytes: Uint8Array, width: number, count: number): Uint8Array | Uint32Array {
  expect(width <= 32, `values of ${width} bits`);
  const values = width <= 8 ? new Uint8Array(count) : new Uint32Array(count);
  if (width === 0) return values;
  const size = Math.ceil(width / 8);
  let at = 0, seen = 0;
  while (seen < count) {
    let head = 0;
    for (let scale = 1, byte = 128; byte >= 128; scale *= 128) {
      expect(at < bytes.length && scale < 2 ** 35, `only ${seen} of ${count} values`);
      byte = bytes[at++];
      head += (byte & 127) * scale;
    }
    const half = Math.floor(head / 2);
    if (head % 2 === 1) {
      // groups of eight values; those after the last one may be missing
      const length = Math.min(half * 8, count - seen), needed = Math.ceil(length * width / 8);
      expect(needed <= bytes.length - at, `only ${seen} of ${count} values`);
      unpack(bytes.subarray(at, at + needed), width, values, seen, length);
      at += half * width;
      seen += length;
    } else {
      expect(size <= bytes.length - at, `only ${seen} of ${count} values`);
      let value = 0;
      for (let i = 0; i < size; i++) value += bytes[at + i] * 2 ** (8 * i);
      expect(half <= count - seen, `a run of ${half} values of ${count}`);
      values.fill(value, seen, seen + half);
      at += size;
      seen += half;
    }
  }
  return values;
}

/** Reads numbers of `width` bits that follow each other, the lowest bit first. */
function unpack(
  bytes: Uint8Array,
  width: number,
  into: Uint8Array | Uint32Array,
  from: number,
  count: number,
): void {
  const mask = 2 ** width - 1;
  for (let i = 0; i < count; i++) {
    const bit = i * width, at = Math.floor(bit / 8), shift = bit % 8;
    // bytes after the end are undefined, which counts as 0 here
    const low = bytes[at] | bytes[at + 1] << 8 | bytes[at + 2] << 16 | bytes[at + 3] << 24;
    into[from + i] = width <= 24
      ? low >>> shift & mask
      : Math.floor(((low >>> 0) + (bytes[at + 4] ?? 0) * 2 ** 32) / 2 ** shift) % 2 ** width;
  }
}
