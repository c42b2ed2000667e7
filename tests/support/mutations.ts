// Seeded damage to files, for the tests of readers.
import { mulberry32 } from "./numbers.ts";

/** Returns a function that returns 32 random bits. */
export function mutationRandom(seed: number): () => number {
  const next = mulberry32(seed);
  return () => next() * 2 ** 32;
}

/** Numbers at which readers often fail. */
const corners = [
  0,
  1,
  0x7f,
  0x80,
  0xff,
  0x7fff,
  0x8000,
  0xffff,
  0x7fffffff,
  0x80000000,
  0xfffffffe,
  0xffffffff,
];

/** A random place: more often in the first and last kilobytes, where the structure of a file is, than between them. */
function place(next: () => number, length: number): number {
  const edge = Math.min(length, 3000);
  const kind = next() % 4;
  return kind === 0 ? next() % edge : kind === 1 ? length - 1 - next() % edge : next() % length;
}

function joined(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) bytes.set(part, (at += part.length) - part.length);
  return bytes;
}

/** Makes one to four changes: bytes, bits, wide numbers, and pieces that are removed, repeated or taken from another file. */
export function mutate(sound: Uint8Array, other: Uint8Array, next: () => number): Uint8Array {
  let bytes = sound.slice();
  for (let k = next() % 4; k >= 0; k--) {
    const at = place(next, bytes.length), length = 1 + next() % 40;
    const view = new DataView(bytes.buffer);
    switch (next() % 8) {
      case 0:
      case 1:
        bytes[at] = next() & 255;
        break;
      case 2:
        bytes[at] ^= 1 << next() % 8;
        break;
      case 3:
        if (at + 4 <= bytes.length) view.setUint32(at, corners[next() % corners.length], next() % 2 === 0);
        break;
      case 4:
        if (at + 8 <= bytes.length) {
          view.setBigUint64(at, BigInt(corners[next() % corners.length]) << 31n, true);
        }
        break;
      case 5: // a piece is removed
        bytes = joined(bytes.subarray(0, at), bytes.subarray(at + length));
        break;
      case 6: { // a piece is repeated
        const piece = bytes.subarray(at, at + length);
        bytes = joined(bytes.subarray(0, at), piece, bytes.subarray(at));
        break;
      }
      default: // a piece of another file
        bytes.set(
          other.subarray(place(next, other.length)).subarray(0, Math.min(length, bytes.length - at)),
          at,
        );
    }
    if (bytes.length < 50) break;
  }
  return next() % 20 === 0 ? bytes.slice(0, next() % (bytes.length + 1)) : bytes;
}

/** Values of which readers that expect another type often fail, or show something that a terminal obeys. */
const oddValues: readonly unknown[] = [
  ...[null, true, -1, 0, 0.5, 1e308, 2 ** 53, "", "\x1b[31m", "x".repeat(1000), [], [[]], [null], {}],
  ...[{ toString: 1, valueOf: 1 }, { length: 1e9 }, { constructor: { prototype: 1 } }, Array(300).fill(0)],
  ...[[{ toString: 1 }], "NaN", "__proto__", JSON.parse('{"__proto__": {"polluted": 1}}')],
];

/** A copy of a JSON value in which one to three values are replaced by odd ones, or left out. */
export function withOddValues(value: unknown, next: () => number): unknown {
  let root = { root: structuredClone(value) } as unknown;
  for (let k = next() % 3; k >= 0; k--) {
    const places: [owner: Record<string, unknown>, key: string][] = [];
    const visit = (owner: unknown): void => {
      if (typeof owner !== "object" || owner === null) return;
      for (const [key, item] of Object.entries(owner)) {
        places.push([owner as Record<string, unknown>, key]);
        visit(item);
      }
    };
    visit(root);
    const [owner, key] = places[next() % places.length];
    if (next() % 8 === 0 && !Array.isArray(owner) && owner !== root) delete owner[key];
    else owner[key] = structuredClone(oddValues[next() % oddValues.length]);
    root = { ...(root as object) };
  }
  return (root as { root: unknown }).root;
}
