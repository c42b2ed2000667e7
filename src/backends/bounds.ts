// The check that every backend makes before it runs a kernel: all operands lie inside their buffers, as far as the kernel
// reads and writes them (facts.ts). On the CPU all tensors share one memory, and a runtime that is started without its own
// checks (docs/reliability.md) would not notice a wrong offset.
import type { Backend } from "./backend.ts";
import type { Buffer, Slot } from "./buffer.ts";
import { type Indices, isSize, type KernelFacts, kernels, type Operand, type OperandName } from "./facts.ts";
import { type Calls, type KernelName, textOf } from "./kernels.ts";

/** What the check needs to know of a device. */
type Device = Pick<Backend, "hasF16" | "peek">;

/** The operands as a list, which is faster to go through than a record. */
interface Checked<Call> {
  readonly hasSizes: (call: Call) => boolean;
  readonly operands: readonly (Operand<Call> & { readonly name: OperandName<Call> })[];
  readonly indices?: Indices<Call>;
}

function checked<Call>({ hasSizes, operands, indices }: KernelFacts<Call>): Checked<Call> {
  const names = Object.keys(operands) as OperandName<Call>[];
  return { hasSizes, operands: names.map((name) => ({ name, ...operands[name] })), indices };
}

const table = Object.fromEntries(
  Object.entries(kernels).map(([name, facts]) => [name, checked(facts as KernelFacts<unknown>)]),
) as unknown as { readonly [K in KernelName]: Checked<Calls[K]> };

/**
 * Checks a call before anything of it runs. Indices are checked by value if the device can read them at once.
 * @throws RangeError with the kernel, the operand and the numbers
 */
export function checkCall<K extends KernelName>(device: Device, name: K, call: Calls[K]): void {
  const { hasSizes, operands, indices }: Checked<Calls[K]> = table[name];
  if (!hasSizes(call)) {
    throw internal(
      `${name}: its sizes must be whole numbers from 0 to 4294967295 that fit each other: ${textOf(call)}`,
    );
  }
  for (let i = 0; i < operands.length; i++) {
    const { name: operand, extent, isOptional } = operands[i];
    const slot = call[operand] as Slot | null;
    if (slot === null) {
      if (isOptional) continue;
      throw internal(`${name}: operand ${String(operand)} is missing`);
    }
    if (!holds(device, slot, extent(call))) throw outside(name, String(operand), slot, extent(call));
  }
  if (indices && device.peek) {
    const { buffer, offset, length } = call[indices.operand] as Slot;
    checkIndices(device.peek(buffer, "i32", offset, length), indices.rows(call));
  }
}

/** Whether a slot has at least `extent` elements, all of them inside its buffer, which is still in use. */
function holds({ hasF16 }: Device, { buffer, offset, length, itemBytes }: Slot, extent: number): boolean {
  return extent <= length && isSize(length) && isSize(offset) && (itemBytes === 4 || hasF16) &&
    (offset + length) * itemBytes <= buffer.bytes && !buffer.isFreed;
}

/** All tensors of the CPU share one memory, so an index outside the table would read or change another tensor. */
function checkIndices(indices: ArrayLike<number>, rows: number): void {
  for (let i = 0; i < indices.length; i++) {
    if (indices[i] >= 0 && indices[i] < rows) continue;
    throw new Error(`index ${indices[i]} at ${i} is outside the table of ${rows} rows: use 0 to ${rows - 1}`);
  }
}

/**
 * Checks that `length` numbers of four bytes, from `offset` on, lie inside a buffer that is about to be read or written.
 * @throws RangeError with the numbers
 */
export function checkAccess(what: string, buffer: Buffer, offset: number, length: number): void {
  const slot: Slot = { buffer, offset, length, itemBytes: 4 };
  if (!holds({ hasF16: false }, slot, length)) throw outside(what, "buffer", slot, length);
}

function outside(what: string, operand: string, slot: Slot, extent: number): RangeError {
  const { buffer, offset, length, itemBytes } = slot;
  const where = buffer.isFreed ? "a buffer that was freed" : `a buffer of ${buffer.bytes} bytes`;
  return internal(
    `${what}: operand ${operand} has ${length} elements of ${itemBytes} bytes from element ${offset} on, in ${where}, ` +
      `and ${extent} elements are needed`,
  );
}

/** Operations check what their callers give them, so a call that is refused here is a mistake of an operation. */
function internal(problem: string): RangeError {
  return new RangeError(`${problem}. This is an error in Tessera: please report it`);
}
