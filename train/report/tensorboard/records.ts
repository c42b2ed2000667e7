// The framing of TensorFlow's record files: length (u64), its checksum, bytes, their checksum. The checksums are CRC-32C,
// masked as in tensorflow/tsl/lib/hash/crc32c.h, because a checksum of bytes that have checksums inside says little.

const table = new Int32Array(256);
for (let n = 0; n < 256; n++) {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? 0x82f63b78 ^ (crc >>> 1) : crc >>> 1; // Castagnoli's polynomial, reversed
  table[n] = crc;
}

/** The checksum CRC-32C (RFC 3720, appendix B.4). */
export function crc32c(bytes: Uint8Array): number {
  let crc = -1;
  for (const byte of bytes) crc = table[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

function masked(bytes: Uint8Array): number {
  const crc = crc32c(bytes);
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}

/** Returns a record with these bytes. */
export function frame(bytes: Uint8Array): Uint8Array {
  const record = new Uint8Array(bytes.length + 16), view = new DataView(record.buffer);
  view.setBigUint64(0, BigInt(bytes.length), true);
  view.setUint32(8, masked(record.subarray(0, 8)), true);
  record.set(bytes, 12);
  view.setUint32(12 + bytes.length, masked(bytes), true);
  return record;
}
