// The CPU's allocator: blocks in use never overlap, and a large block moves others down without losing a byte.
import { expect, test } from "bun:test";
import { Random } from "../../../../src/index.ts";
import { Allocator, type Movable, OVERREAD } from "../../../../src/backends/wasm/allocator.ts";

const MIB = 2 ** 20;
/** The bytes of a block that takes `mib` MiB of addresses. */
const filling = (mib: number) => mib * MIB - OVERREAD;

test("blocks never overlap and keep their contents when they are moved", () => {
  const allocator = new Allocator(0, 8192 * MIB), random = new Random(3);
  const alive = new Set<Movable>();
  const contents = new Map<number, Movable>(); // the block at each address, instead of gigabytes of memory
  let moved = 0;
  for (let step = 0; step < 3000; step++) {
    const oldest = alive.values().next().value;
    if (oldest && (alive.size > 8 || random.next() < 0.4)) {
      const block = [...alive][Math.floor(random.next() * alive.size)];
      allocator.free(block.at, block.bytes);
      contents.delete(block.at);
      alive.delete(block);
      continue;
    }
    const bytes = Math.ceil(random.next() ** 3 * 600 * MIB);
    allocator.makeRoom(bytes, alive, (to, from, size) => {
      expect(to).toBeLessThan(from);
      expect(size).toBeGreaterThanOrEqual(contents.get(from)!.bytes);
      contents.set(to, contents.get(from)!);
      contents.delete(from);
      moved++;
    });
    const block = { at: allocator.alloc(bytes), bytes };
    alive.add(block);
    contents.set(block.at, block);
    const ordered = [...alive].sort((a, b) => a.at - b.at);
    ordered.forEach((b, i) => {
      expect(contents.get(b.at)).toBe(b);
      if (i > 0) expect(b.at).toBeGreaterThanOrEqual(ordered[i - 1].at + ordered[i - 1].bytes + OVERREAD);
    });
  }
  expect(moved).toBeGreaterThan(20);
});

test("a large block after a gap takes no addresses for the gap", () => {
  const allocator = new Allocator(0, 4096 * MIB);
  const [gap, large] = [128, 512].map((mib) => ({ at: allocator.alloc(filling(mib)), bytes: filling(mib) }));
  allocator.free(gap.at, gap.bytes);
  allocator.makeRoom(filling(512), [large], (to, from, bytes) => {
    expect([to, from, bytes]).toEqual([0, 128 * MIB, 512 * MIB]);
  });
  expect(large.at).toBe(0);
  expect(allocator.alloc(filling(512))).toBe(512 * MIB);
  expect(allocator.reserved).toBe(1024 * MIB);
  // small blocks are not moved
  const [hole, small] = [32, 16].map((mib) => ({ at: allocator.alloc(filling(mib)), bytes: filling(mib) }));
  allocator.free(hole.at, hole.bytes);
  allocator.makeRoom(filling(64), [large, small], () => {
    throw new Error("moved");
  });
});

test("a gap must also hold the bytes that kernels may read after a block", () => {
  const allocator = new Allocator(0, 4096 * MIB);
  const [gap, large] = [512, 512].map((mib) => ({ at: allocator.alloc(filling(mib)), bytes: filling(mib) }));
  allocator.free(gap.at, gap.bytes);
  allocator.makeRoom(512 * MIB, [large], () => {});
  expect(large.at).toBe(0);
});

test("a size that is not a whole number is refused, and changes nothing", () => {
  const allocator = new Allocator(0, 64 * MIB);
  for (const bytes of [NaN, 0.5, -4, Infinity]) {
    expect(() => allocator.alloc(bytes)).toThrow(`alloc: ${bytes} bytes, expected a whole number >= 0`);
  }
  expect(allocator.alloc(4)).not.toBe(allocator.alloc(4));
});
