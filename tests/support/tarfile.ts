// Tar archives built by hand, valid ones and hostile ones.
import { Buffer } from "node:buffer";

export interface TarEntry {
  readonly name: string;
  readonly data?: Uint8Array | string;
  /** Type flag, default a regular file. */
  readonly type?: string;
  /** The size field to write instead of the size of the data. */
  readonly size?: string | Uint8Array;
  readonly badChecksum?: boolean;
}

/** An archive: the header and the padded data of each entry, then the end mark. */
export function tar(entries: readonly TarEntry[], end = true): Uint8Array {
  const parts = entries.flatMap((entry) => {
    const data = Buffer.from(entry.data ?? "");
    return [header(entry, data.length), data, new Uint8Array((512 - data.length % 512) % 512)];
  });
  return new Uint8Array(Buffer.concat([...parts, new Uint8Array(end ? 1024 : 0)]));
}

function header({ name, type = "0", size, badChecksum }: TarEntry, length: number): Uint8Array {
  const bytes = Buffer.alloc(512);
  bytes.write(name, 0, 100, "utf8");
  bytes.write("0000644\0", 100);
  if (size instanceof Uint8Array) bytes.set(size, 124);
  else bytes.write(size ?? length.toString(8).padStart(11, "0") + "\0", 124, 12, "latin1");
  bytes.write("        ", 148);
  bytes.write(type, 156);
  bytes.write("ustar\x0000", 257);
  const sum = bytes.reduce((a, b) => a + b, 0) + (badChecksum ? 1 : 0);
  bytes.write(sum.toString(8).padStart(6, "0") + "\0 ", 148);
  return bytes;
}

/** A pax header with these records for the entry that follows. */
export function pax(records: Readonly<Record<string, string>>): TarEntry {
  const lines = Object.entries(records).map(([key, value]) => {
    const rest = Buffer.byteLength(` ${key}=${value}\n`);
    let length = rest + 1;
    while (String(length).length + rest !== length) length++;
    return `${length} ${key}=${value}\n`;
  });
  return { name: "pax", type: "x", data: lines.join("") };
}
