// Writes ZIP archives as torch.save does (APPNOTE 6.3, with zip64 end records). Entries are stored without compression,
// and their contents start at multiples of 64 bytes, so that tensors are aligned when the file is mapped into memory.
import type { Sink } from "../sink.ts";
import { crc32 } from "./crc32.ts";

const alignment = 64;
const unused32 = 0xffffffff;

interface Entry {
  readonly name: Uint8Array;
  readonly crc: number;
  readonly length: number;
  readonly offset: number;
}

/** Returns little-endian fields, each given as [value, number of bytes]. */
function fields(...values: readonly (readonly [value: number, bytes: 2 | 4 | 8])[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.reduce((sum, [, size]) => sum + size, 0)));
  let at = 0;
  for (const [value, size] of values) {
    if (size === 2) view.setUint16(at, value, true);
    else if (size === 4) view.setUint32(at, value, true);
    else view.setBigUint64(at, BigInt(value), true);
    at += size;
  }
  return new Uint8Array(view.buffer);
}

/**
 * Writes an archive from front to back.
 * @example
 * ```ts
 * const zip = new ZipWriter({ write: (bytes) => Promise.resolve(console.log(bytes.length)) });
 * await zip.add("archive/version", [new TextEncoder().encode("3\n")]);
 * await zip.finish();
 * ```
 */
export class ZipWriter {
  readonly #sink: Sink;
  readonly #entries: Entry[] = [];
  #at = 0;

  constructor(sink: Sink) {
    this.#sink = sink;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    await this.#sink.write(bytes);
    this.#at += bytes.length;
  }

  /** Appends an entry that consists of these pieces. @throws if it has 4 GiB or more */
  async add(name: string, pieces: readonly Uint8Array[]): Promise<void> {
    const length = pieces.reduce((sum, piece) => sum + piece.length, 0);
    if (length >= unused32) {
      throw new Error(`zip entry ${name} has ${length} bytes; at most 4 GiB are written`);
    }
    const crc = pieces.reduce((crc, piece) => crc32(piece, crc), 0);
    const entry = { name: new TextEncoder().encode(name), crc, length, offset: this.#at };
    const start = this.#at + 30 + entry.name.length + 4;
    const padding = (alignment - start % alignment) % alignment;
    await this.#write(fields([0x04034b50, 4], ...common(entry), [entry.name.length, 2], [4 + padding, 2]));
    await this.#write(entry.name);
    // the extra field that torch uses for padding: "FB"
    await this.#write(Uint8Array.from([...fields([0x4246, 2], [padding, 2]), ...new Uint8Array(padding)]));
    for (const piece of pieces) await this.#write(piece);
    this.#entries.push(entry);
  }

  /** Appends the directory. */
  async finish(): Promise<void> {
    const start = this.#at;
    for (const entry of this.#entries) {
      const isFar = entry.offset >= unused32;
      const extra = isFar ? fields([1, 2], [8, 2], [entry.offset, 8]) : new Uint8Array(0);
      await this.#write(fields(
        ...[[0x02014b50, 4], [45, 2]] as const,
        ...common(entry),
        ...[[entry.name.length, 2], [extra.length, 2], [0, 2], [0, 2], [0, 2], [0, 4]] as const,
        [isFar ? unused32 : entry.offset, 4],
      ));
      await this.#write(entry.name);
      await this.#write(extra);
    }
    const length = this.#at - start, count = this.#entries.length, end64 = this.#at;
    await this.#write(fields(
      ...[[0x06064b50, 4], [44, 8], [45, 2], [45, 2], [0, 4], [0, 4]] as const,
      ...[[count, 8], [count, 8], [length, 8], [start, 8]] as const,
      ...[[0x07064b50, 4], [0, 4], [end64, 8], [1, 4]] as const,
    ));
    const count16 = Math.min(count, 0xffff);
    await this.#write(fields(
      ...[[0x06054b50, 4], [0, 2], [0, 2], [count16, 2], [count16, 2]] as const,
      ...[[Math.min(length, unused32), 4], [Math.min(start, unused32), 4], [0, 2]] as const,
    ));
  }
}

/** The fields that local header and directory share: version, flags (names are UTF-8), stored, date, CRC, sizes. */
function common({ crc, length }: Entry): readonly (readonly [number, 2 | 4])[] {
  return [[45, 2], [0x0800, 2], [0, 2], [0, 2], [0x21, 2], [crc, 4], [length, 4], [length, 4]];
}
