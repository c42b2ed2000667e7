// Unpacks the pages of Parquet files. The length is known beforehand, so nothing is unpacked beyond it.
import { snappyUncompress } from "hyparquet";
import { brotliDecompressSync, gunzipSync, zstdDecompressSync } from "node:zlib";
import { expect, ParquetProblem } from "./parquet_footer.ts";

type Decompress = (bytes: Uint8Array, length: number) => Uint8Array;

const codecs: Readonly<Record<string, Decompress>> = {
  UNCOMPRESSED: (bytes) => bytes,
  SNAPPY(bytes, length) {
    const out = new Uint8Array(length);
    snappyUncompress(bytes, out);
    return out;
  },
  GZIP: (bytes, length) => gunzipSync(bytes, { maxOutputLength: length }),
  BROTLI: (bytes, length) => brotliDecompressSync(bytes, { maxOutputLength: length }),
  ZSTD: (bytes, length) => zstdDecompressSync(bytes, { maxOutputLength: length }),
  LZ4_RAW: lz4,
  LZ4(bytes, length) {
    const framed = hadoopLz4(bytes, length);
    return framed?.length === length ? framed : lz4(bytes, length);
  },
};

/**
 * Unpacks a page.
 * @param codec Parquet's name of the compression
 * @throws ParquetProblem if the compression is unknown, or the bytes do not unpack to `length` bytes
 */
export function decompress(codec: string, bytes: Uint8Array, length: number): Uint8Array {
  const known = Object.hasOwn(codecs, codec) ? codecs[codec] : undefined;
  if (known === undefined) {
    throw new ParquetProblem(`its compression ${codec} is unknown`, "write it with zstd, gzip or snappy");
  }
  let unpacked: Uint8Array | null = null;
  try {
    if (length > 0) unpacked = known(bytes, length);
  } catch (error) {
    if (error instanceof ParquetProblem) throw error;
    // reported below
  }
  expect(length === 0 || unpacked?.length === length, `a page does not unpack to ${length} bytes`);
  return unpacked ?? new Uint8Array(0);
}

/** Unpacks a block of LZ4 (github.com/lz4/lz4, doc/lz4_Block_format.md). */
function lz4(bytes: Uint8Array, length: number): Uint8Array {
  const out = new Uint8Array(length), wrong = "a page is not LZ4";
  let at = 0, end = 0;
  const more = (start: number): number => {
    let n = start;
    for (let byte = start === 15 ? 255 : 0; byte === 255; n += byte) {
      expect(at < bytes.length, wrong);
      byte = bytes[at++];
    }
    return n;
  };
  while (at < bytes.length) {
    const token = bytes[at++], literals = more(token >> 4);
    expect(literals <= bytes.length - at && literals <= length - end, wrong);
    out.set(bytes.subarray(at, at += literals), end);
    end += literals;
    if (at === bytes.length) break; // the last sequence has no match
    const offset = bytes[at] | bytes[at + 1] << 8;
    at += 2;
    const match = more(token & 15) + 4;
    expect(offset > 0 && offset <= end && match <= length - end, wrong);
    for (const stop = end + match; end < stop; end++) out[end] = out[end - offset];
  }
  return out.subarray(0, end);
}

/** Unpacks Hadoop's frames around blocks of LZ4, which old writers used; null if there are none. */
function hadoopLz4(bytes: Uint8Array, length: number): Uint8Array | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength), out = new Uint8Array(length);
  let end = 0;
  for (let at = 0; at < bytes.length;) {
    if (bytes.length - at < 8) return null;
    const unpacked = view.getUint32(at), packed = view.getUint32(at + 4);
    if (packed > bytes.length - at - 8 || unpacked > length - end) return null;
    try {
      out.set(lz4(bytes.subarray(at + 8, at + 8 + packed), unpacked), end);
    } catch {
      return null;
    }
    at += 8 + packed;
    end += unpacked;
  }
  return out.subarray(0, end);
}
