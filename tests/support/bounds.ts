// The program that wasm/bounds.test.ts runs in processes of their own: `bounds.ts <calls> [ends]`. It makes random calls of
// every kernel in watched memory (watched.ts) and prints one JSON line. `ends` puts each block at the end of the memory, where
// a read that goes too far is an error of the runtime, or the end of a process without bounds checks. A call is written to
// the standard error before it runs, so that a process that is killed leaves its last words. `bounds.ts beyond` reads
// beyond a memory, to find out whether the process has bounds checks.
import { createHash } from "node:crypto";
import { writeSync } from "node:fs";
import process from "node:process";
import type { Slot } from "../../src/backends/buffer.ts";
import { type KernelFacts, kernels, type Operand } from "../../src/backends/facts.ts";
import { type Calls, type KernelName, textOf } from "../../src/backends/kernels.ts";
import { ModuleBuilder } from "../../src/backends/wasm/assembler/assembler.ts";
import { i32 } from "../../src/backends/wasm/assembler/expressions.ts";
import { type Plan, randomCall } from "./calls.ts";
import { mulberry32 } from "./numbers.ts";
import { WatchedCpu } from "./watched.ts";

/** What the program prints. */
export interface Report {
  readonly calls: number;
  /** Calls with one block at the end of the memory, refused calls, and changed calls that were not refused but computed. */
  readonly ends: number;
  readonly refused: number;
  readonly accepted: number;
  readonly faults: readonly string[];
  /** The description of the device, and the bytes of its memory. */
  readonly description: string;
  readonly memory: number;
  /** A hash of all results. */
  readonly hash: string;
}

if (process.argv[2] === "beyond") readBeyond();
const [limit, ends] = [Number(process.argv[2]), process.argv[3] === "ends"];
const cpu = new WatchedCpu(ends), { backend, allocator } = cpu;
const hash = createHash("sha256"), faults: string[] = [];
const counts = { calls: 0, ends: 0, refused: 0, accepted: 0 };
const names = Object.keys(kernels) as KernelName[];

/** A NaN, and a large number: if one of them gets into a result, the result differs from that with the other. */
const [NOT_A_NUMBER, LARGE] = [0x7fc0dead, 0x7149f2ca];

/** Reads beyond the end of a memory of one page. */
function readBeyond(): never {
  const m = new ModuleBuilder(false);
  m.fn("read", ["i32"], ["i32"], (f) => f.code.push(...i32.load(f.param(0, "i32")).code));
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.bytes(1)), { env: { memory } });
  (exports.read as (at: number) => number)(2 ** 16);
  process.exit(0);
}

const operandOf = (plan: Plan, operand: string): Operand<unknown> =>
  (kernels[plan.name] as KernelFacts<unknown>).operands[operand as never];

/** Random values for the operands that are read. */
function valuesOf(plan: Plan, next: () => number): Map<string, Int32Array> {
  const values = new Map<string, Int32Array>();
  for (const [operand, length] of plan.lengths) {
    const rows = plan.indices?.operand === operand ? plan.indices.rows : null;
    const floats = Float32Array.from({ length }, () => 2 * next() - 1);
    const indices = () => Int32Array.from({ length }, () => Math.floor(next() * rows!));
    values.set(operand, rows === null ? new Int32Array(floats.buffer) : indices());
  }
  return values;
}

/** Places the operands in buffers with other elements around them. */
function place(
  plan: Plan,
  values: ReadonlyMap<string, Int32Array>,
  around: (i: number) => readonly [before: number, after: number],
): Map<string, Slot> {
  const slots = new Map<string, Slot>();
  for (const [operand, given] of values) {
    const isInput = operandOf(plan, operand).isRead;
    const content = isInput ? given : new Int32Array(given.length).fill(cpu.paint);
    slots.set(operand, cpu.operand(content, ...around(slots.size)));
  }
  return slots;
}

/**
 * Frees the operands of a call, and returns what it wrote. Bytes that it must not have changed are compared: those around
 * operands, operands that are only read, and those around all blocks.
 */
function collect(
  plan: Plan,
  values: ReadonlyMap<string, Int32Array>,
  slots: ReadonlyMap<string, Slot>,
  isChanged = false,
): Int32Array[] {
  const results: Int32Array[] = [];
  for (const [operand, { buffer, offset, length }] of slots) {
    const all = cpu.read(buffer), own = all.subarray(offset, offset + length);
    const around = [...all.subarray(0, offset), ...all.subarray(offset + length)];
    if (!around.every((value) => value === cpu.paint)) allocator.faults.push(`beside operand ${operand}`);
    if (plan.name === "copy" && operand === "out" && !isChanged && !skipsGaps(plan, own)) {
      allocator.faults.push("between the elements of operand out");
    }
    const { isWritten } = operandOf(plan, operand);
    if (isWritten) results.push(own);
    else if (!equal(own, values.get(operand)!)) allocator.faults.push(`in operand ${operand}`);
    backend.free(buffer);
  }
  allocator.check();
  return results;
}

/** Whether the elements that the strides of a copy skip did not change. They become 0, because they are no results. */
function skipsGaps(plan: Plan, out: Int32Array): boolean {
  const { shape, outStrides } = plan.call(new Map()) as Calls["copy"];
  let places = shape.includes(0) ? [] : [0];
  shape.forEach((n, axis) => {
    places = Array.from({ length: n }, (_, i) => places.map((at) => at + i * outStrides[axis])).flat();
  });
  const written = new Set(places), gaps = [...out.keys()].filter((i) => !written.has(i));
  const same = gaps.every((i) => out[i] === cpu.paint);
  for (const i of gaps) out[i] = 0;
  return same;
}

const equal = (a: Int32Array, b: Int32Array): boolean =>
  a.length === b.length && a.every((value, i) => value === b[i]);

/** Runs a call in watched memory. */
function run(
  plan: Plan,
  values: ReadonlyMap<string, Int32Array>,
  paint: number,
  around: (i: number) => readonly [before: number, after: number],
  last = -1,
): Int32Array[] {
  cpu.renew(paint, last);
  const slots = place(plan, values, around);
  try {
    backend.run(plan.name, plan.call(slots) as never);
  } catch (error) {
    allocator.faults.push(String(error));
  }
  return collect(plan, values, slots);
}

/** Numbers that are no size, and large ones. */
const noSizes = [NaN, -1, 0.5, Infinity, 2 ** 32, 2 ** 53, -(2 ** 31)];
const sizes = (n: number) => [0, 1, n + 1, 2 * n + 1, 1000 * n];
const hugeSizes = [2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
/** The numbers of a call that are not sizes. */
const notSizes = new Set(["value", "p0", "p1", "eps", "scale", "lr", "beta1", "beta2", "step"]);

/** All sizes of a call, as copies of the call with another number in their place. */
function resized(call: object): { readonly size: number; readonly as: (n: number) => object }[] {
  return Object.entries(call).flatMap(([key, value]) => {
    const as = (part: unknown) =>
      Array.isArray(call) ? call.with(Number(key), part) : { ...call, [key]: part };
    if (typeof value === "number") return notSizes.has(key) ? [] : [{ size: value, as }];
    if (typeof value !== "object" || value === null || "buffer" in value) return [];
    return resized(value).map((inner) => ({ size: inner.size, as: (n: number) => as(inner.as(n)) }));
  });
}

/** Changes of an operand that reach beyond its buffer, or mean nothing. */
function misplaced(slot: Slot, mayBeShorter: boolean): Slot[] {
  const { offset, length } = slot;
  const freed = backend.alloc(slot.buffer.bytes);
  backend.free(freed);
  return [
    ...(mayBeShorter ? [] : [{ ...slot, length: length - 1 }]),
    ...[NaN, -1, length + 0.5, length + 1, length + 2 ** 32, Infinity].map((n) => ({ ...slot, length: n })),
    ...[NaN, -1, 0.5, offset + 1, offset + 2 ** 30, offset + 2 ** 32, -(2 ** 32), Infinity]
      .map((n) => ({ ...slot, offset: n })),
    { ...slot, buffer: freed },
    { ...slot, itemBytes: 2 as const },
  ];
}

/** Tries calls that must be refused, and random ones that may also be computed, but then within their operands. */
function refuse(plan: Plan, values: ReadonlyMap<string, Int32Array>, next: () => number): void {
  cpu.renew(LARGE);
  const slots = place(plan, values, () => [0, 0]), call = plan.call(slots);
  const bad: object[] = [];
  for (const [operand, slot] of slots) {
    bad.push(...misplaced(slot, plan.free.has(operand)).map((other) => ({ ...call, [operand]: other })));
    if (!operandOf(plan, operand).isOptional) bad.push({ ...call, [operand]: null });
  }
  for (const { as } of resized(call)) bad.push(...noSizes.map(as));
  const blocks = allocator.count;
  for (const one of bad) {
    counts.refused++;
    const message = messageOf(plan.name, one);
    if (
      message.startsWith(`${plan.name}: `) &&
      message.endsWith("This is an error in Tessera: please report it")
    ) {
      continue;
    }
    allocator.faults.push(`${message || "computed"} instead of refused: ${textOf(one)} ${placesOf(one)}`);
  }
  if (plan.indices) tryIndices(plan, slots);
  if (allocator.count !== blocks) allocator.faults.push("memory was taken for a call that was refused");
  for (const [operand, { buffer }] of slots) {
    const start = operandOf(plan, operand).isRead ? values.get(operand)! : null;
    if (!cpu.read(buffer).every((value, i) => value === (start ? start[i] : cpu.paint))) {
      allocator.faults.push(`${operand} changed by a call that was refused`);
    }
  }
  // where an operand is empty, the other sizes may be anything, and the kernels would go through all of it for nothing
  const isFull = [...plan.lengths.values()].every((length) => length > 0), changes = resized(call);
  for (let i = 0; i < 4 && changes.length > 0; i++) {
    const { size, as } = changes[Math.floor(next() * changes.length)];
    const others = [...sizes(size), ...isFull ? hugeSizes : []];
    const other = as(others[Math.floor(next() * others.length)]);
    writeSync(2, `  as ${textOf(other)}\n`);
    const message = messageOf(plan.name, other);
    if (message.includes("memory access")) allocator.faults.push(`${message}: ${textOf(other)}`);
    if (message) counts.refused++;
    else counts.accepted++;
  }
  collect(plan, values, slots, true);
}

/** Puts an index into the indices that is outside the table. */
function tryIndices(plan: Plan, slots: ReadonlyMap<string, Slot>): void {
  const { operand, rows } = plan.indices!, { buffer, length } = slots.get(operand)!;
  const call = plan.call(slots), { columns } = call as { columns: number };
  if (length === 0 || columns === 0) return;
  const start = cpu.read(buffer);
  for (const index of [-1, rows, 2 ** 31 - 1, -(2 ** 31)]) {
    counts.refused++;
    backend.write(buffer, Int32Array.of(index), length - 1);
    const message = messageOf(plan.name, call);
    if (!message.startsWith(`index ${index} at ${length - 1} is outside the table of ${rows} rows`)) {
      allocator.faults.push(`${message || "computed"} for index ${index}`);
    }
  }
  backend.write(buffer, start, 0);
}

/** The message of the error with which a call ends, or nothing. */
function messageOf(name: KernelName, call: object): string {
  try {
    backend.run(name, call as never);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Where the operands of a call are. */
const placesOf = (call: object): string =>
  Object.values(call).filter((value) => value !== null && typeof value === "object" && "buffer" in value)
    .map(({ offset, length, buffer }: Slot) => `${offset}+${length}/${buffer.bytes}`).join(" ");

/** Keeps the faults of a call, with what it was. */
function note(plan: Plan, what: string): void {
  for (const fault of allocator.faults.splice(0)) {
    const sizes = textOf(plan.call(new Map()));
    faults.push(`${plan.name}, ${what}: ${fault}; ${sizes} ${backend.exact ? "exact" : ""}`);
  }
}

for (let i = 0; i < limit; i++) {
  const next = mulberry32(i), name = names[i % names.length];
  const plan = randomCall(name, next), values = valuesOf(plan, next);
  backend.exact = next() < 0.15;
  counts.calls++;
  writeSync(2, `${i} ${name} ${textOf(plan.call(new Map()))}\n`);
  const random = (): [number, number] => [Math.floor(next() * 9), Math.floor(next() * 9)];
  const results = run(plan, values, NOT_A_NUMBER, random);
  const blocks = allocator.count;
  const again = run(plan, values, LARGE, random);
  results.forEach((result, k) => {
    hash.update(new Uint8Array(result.buffer, result.byteOffset, result.byteLength));
    if (!equal(result, again[k])) {
      allocator.faults.push(`result ${k} depends on the bytes around the operands`);
    }
  });
  note(plan, "in the middle");
  for (let last = 0; ends && last < blocks; last++) {
    counts.ends++;
    run(plan, values, LARGE, (at) => at === last ? [1, 0] : [0, 0], last);
    note(plan, `with block ${last} of ${blocks} at the end`);
  }
  refuse(plan, values, next);
  note(plan, "changed");
}
const { memory } = cpu, { description } = backend;
const report: Report = { ...counts, faults, description, memory, hash: hash.digest("hex") };
console.log(JSON.stringify(report));
