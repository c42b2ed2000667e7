// The checksum of ZIP archives compared with zlib's: all lengths around a step of eight bytes, unaligned, and in
// pieces.
import { expect, test } from "bun:test";
import { crc32 as zlib } from "node:zlib";
import { crc32, crc32ByTables } from "../../../../data/formats/torch/crc32.ts";
import { Random } from "../../../../src/random.ts";

for (const [name, checksum] of Object.entries({ crc32, crc32ByTables })) {
  test(`${name} agrees with zlib`, () => {
    const random = new Random(5);
    const bytes = Uint8Array.from({ length: 1000 }, () => random.integer(256));
    expect(checksum(new Uint8Array(0))).toBe(0);
    expect(checksum(new TextEncoder().encode("123456789"))).toBe(0xcbf43926);
    for (let start = 0; start < 9; start++) {
      for (let length = 0; length < 40; length++) {
        const part = bytes.subarray(start, start + length);
        expect(checksum(part)).toBe(zlib(part));
      }
    }
    const [first, second] = [bytes.subarray(0, 333), bytes.subarray(333)];
    expect(checksum(second, checksum(first))).toBe(zlib(bytes));
  });
}
