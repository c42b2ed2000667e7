// The public class Tensor: a shape and strides over reference-counted memory (storage.ts). Views are tensors that share
// their memory with another tensor. Operations are declared here and implemented in tensor.ts, so that ops/ and
// autograd.ts can import the class without a circle of imports.
import type { Backend } from "./backends/backend.ts";
import {
  type Buffer,
  type DType,
  itemBytes,
  type Shape,
  type Slot,
  type TypedArray,
  type Values,
} from "./backends/buffer.ts";
import { check, shown, whole } from "./check.ts";
import { counters } from "./counters.ts";
import { give, overlapHint, type Owned, type Scope } from "./scope.ts";
import { contiguousStrides, isRowMajor, reachOf, sizeOf } from "./shape.ts";
import type { Storage } from "./storage.ts";

let nextId = 1;

/** Returns the next id. Tensors and nodes of the tape are numbered together, in order of creation. */
export function takeId(): number {
  return nextId++;
}

/** A recorded operation, which made a tensor. The tape (tape.ts) is made of these nodes. */
export interface TapeNode {
  release(): void;
}

/** The second operand of an operation: a tensor, or a number that stands for a tensor of shape []. */
export type Operand = Tensor | number;

/**
 * An n-dimensional array of f32, f16 or i32 numbers on a device. Images are [batch, height, width, channels].
 * `tensor`, `zeros`, `ones`, `full` and the operations make tensors. Operations are methods (`x.add(y)`) and
 * functions (`add(x, y)`), and follow numpy's broadcasting. They compute in f32. f16 is only a way to store values in half
 * the memory, on GPUs; an operation returns f16 if all its operands are f16.
 *
 * @example Making, computing, reading
 * ```ts
 * import { tensor } from "@tessera/vqgan/core";
 *
 * const x = tensor([1, 2, 3, 4], [2, 2]);
 * console.log(x); // Tensor [2,2] f32 on cpu: 1, 2, 3, 4
 * console.log(await x.mul(2).sum().item()); // 20
 * ```
 */
export abstract class Tensor implements Owned {
  /** Increases with every tensor and every recorded operation. */
  readonly id: number = takeId();
  /**
   * The memory, which a tensor shares with its views.
   * @internal
   */
  storage: Storage;
  /** Sizes along each axis. */
  readonly shape: Shape;
  /** How elements are stored. */
  readonly dtype: DType;
  /** The distance in memory, in elements, from one index to the next along each axis; 0 where broadcasting stretched it. */
  readonly strides: readonly number[];
  /** Where the first element is in the memory, counted in elements. */
  readonly offset: number;
  /** The number of elements. */
  readonly size: number;
  /** Whether `backward` adds to `grad`. Set it on leaves: tensors that no recorded operation made, such as parameters. */
  requiresGrad = false;
  /** The gradient that `backward` computed; null before that. */
  grad: Tensor | null = null;
  /**
   * The operation that made this tensor, if it is on the tape.
   * @internal
   */
  node: TapeNode | null = null;
  /**
   * The scope that will free this tensor.
   * @internal
   */
  owner: Scope | null = null;
  #disposed = false;

  /**
   * Takes over one reference to `storage`. `scope` will free the tensor. It comes from `openScope`, which has to be called
   * before the reference is taken, because it may throw.
   * @internal
   */
  constructor(
    storage: Storage,
    shape: Shape,
    dtype: DType,
    strides: readonly number[],
    offset: number,
    scope: Scope | null,
  ) {
    this.storage = storage;
    this.shape = shape;
    this.dtype = dtype;
    this.strides = strides;
    this.offset = offset;
    this.size = sizeOf(shape);
    counters.liveTensors++;
    give(this, scope);
  }

  /**
   * A new tensor on the same device, whose values are still undefined.
   * @internal
   */
  abstract like(shape: Shape, dtype?: DType): Tensor;

  /**
   * A view of the same memory, without history: the tape does not know where its values came from.
   * @internal
   */
  abstract alias(shape: Shape, strides?: readonly number[], offset?: number): Tensor;

  /** The number of axes. */
  get ndim(): number {
    return this.shape.length;
  }

  /** Whether `dispose` was called, by hand or by a scope. */
  get disposed(): boolean {
    return this.#disposed;
  }

  /** Whether the elements lie in row-major order without gaps, from the start of the memory. */
  get isPlain(): boolean {
    return this.offset === 0 && isRowMajor(this.shape, this.strides);
  }

  /** The device that holds the tensor. A later call of `device()` changes only where new tensors are made. */
  get backend(): Backend {
    return this.storage.backend;
  }

  /**
   * The memory behind the tensor.
   * @throws if the tensor was freed
   * @internal
   */
  get buffer(): Buffer {
    this.checkAlive();
    return this.storage.buffer;
  }

  /**
   * @throws if the tensor was freed
   * @internal
   */
  checkAlive(): void {
    if (!this.#disposed) return;
    const way = this.requiresGrad
      ? "a parameter lives until its model is disposed of"
      : "return it from its scope, or keep() it";
    throw new Error(`tensor of shape [${this.shape}] was already freed: ${way}${overlapHint()}`);
  }

  /**
   * The tensor as an operand of a kernel that reads its elements one after another.
   * @throws if they do not lie in row-major order without gaps, because the kernel would read other elements
   * @internal
   */
  get slot(): Slot {
    if (!isRowMajor(this.shape, this.strides)) {
      throw new Error(
        `a kernel cannot read a tensor of shape [${this.shape}] with strides [${this.strides}]; copy it with plain()`,
      );
    }
    return { buffer: this.buffer, offset: this.offset, length: this.size, itemBytes: itemBytes[this.dtype] };
  }

  /**
   * The tensor as an operand of a kernel that is given its strides: the memory from its first element to its last.
   * @internal
   */
  get span(): Slot {
    const length = reachOf(this.shape, this.strides);
    return { buffer: this.buffer, offset: this.offset, length, itemBytes: itemBytes[this.dtype] };
  }

  /** A copy of the values in row-major order. Only this, `floats`, `ints` and `item` wait for the device. */
  async data(): Promise<Values> {
    const dtype = this.dtype === "i32" ? "i32" : "f32";
    const plain = this.isPlain && this.dtype === dtype ? this : materialize(this, dtype);
    const reading = plain.backend.read(plain.buffer, dtype, 0, this.size);
    // both together, because a GPU takes as long for two reads as for one
    const [values] = await Promise.all([reading, this.storage.doubt?.resolve()]);
    if (plain !== this) plain.dispose();
    return values;
  }

  /**
   * Shape, dtype, device and the first values, for the console. Values on a GPU are left out, because reading them takes an
   * await.
   */
  toString(): string {
    const about = `Tensor [${this.shape}] ${this.dtype} on ${this.backend.name}`;
    if (this.#disposed) return `${about}, freed`;
    const first = firstValues(this);
    if (!first) return about;
    const values = first.map((value) => String(Number(value.toPrecision(5))));
    if (this.size > first.length) values.push("...");
    return `${about}: ${values.join(", ")}`;
  }

  /** What `console.log` shows in Deno. @internal */
  [Symbol.for("Deno.customInspect")](): string {
    return this.toString();
  }

  /** What `console.log` shows in Bun and Node. @internal */
  [Symbol.for("nodejs.util.inspect.custom")](): string {
    return this.toString();
  }

  /** `data()` of a tensor of floats. @throws if the tensor holds integers */
  async floats(): Promise<Float32Array<ArrayBuffer>> {
    const values = await this.data();
    if (values instanceof Float32Array) return values;
    throw new Error(`floats: the tensor is ${this.dtype}, use ints()`);
  }

  /** `data()` of an i32 tensor. @throws if the tensor holds floats */
  async ints(): Promise<Int32Array<ArrayBuffer>> {
    const values = await this.data();
    if (values instanceof Int32Array) return values;
    throw new Error(`ints: the tensor is ${this.dtype}, use floats()`);
  }

  /** The value of a tensor with one element. @throws if there are more */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new Error(`item: the tensor has ${this.size} elements (shape [${this.shape}])`);
    }
    return (await this.data())[0];
  }

  /** A view without history: `backward` does not go past it. @throws if the tensor was freed */
  detach(): Tensor {
    this.checkAlive();
    return this.alias(this.shape, this.strides, this.offset);
  }

  /**
   * Overwrites elements from `offset` on, in place, with a Float32Array, or an Int32Array if the tensor is i32.
   * @throws if they do not fit, or the tensor is f16 or a view
   */
  write(values: TypedArray, offset = 0): void {
    this.#mustBePlain("write");
    if (this.dtype === "f16") throw new Error("write: the tensor is f16; write an f32 tensor and cast() it");
    const Fitting = this.dtype === "i32" ? Int32Array : Float32Array;
    if (!(values instanceof Fitting)) {
      throw new TypeError(
        `write: the values are ${shown(values)}, a tensor of ${this.dtype} takes a ${Fitting.name}`,
      );
    }
    check("write", "the offset", offset, whole(0));
    if (offset + values.length > this.size) {
      throw new Error(`write: ${values.length} values at ${offset} do not fit shape [${this.shape}]`);
    }
    this.storage.version++;
    if (values.length > 0) this.backend.write(this.buffer, values, offset); // Deno's WebGPU panics over 0 bytes
  }

  /**
   * Overwrites this tensor in place with the values of another of the same size.
   * @throws if the sizes differ, only one of them is i32, or this one is a view
   */
  assign(other: Tensor): void {
    if (!(other instanceof Tensor)) throw new TypeError(`assign: expected a tensor, got ${shown(other)}`);
    if ((other.dtype === "i32") !== (this.dtype === "i32")) {
      throw new Error(`assign: a tensor of ${other.dtype} does not fit one of ${this.dtype}`);
    }
    if (other.size !== this.size) {
      throw new Error(`assign: shape [${other.shape}] does not fit shape [${this.shape}]`);
    }
    this.#mustBePlain("assign");
    // a view of this tensor in another order is copied first, or its elements would be overwritten before they are read
    const from = other.storage === this.storage && !other.isPlain ? materialize(other) : other;
    this.storage.version++;
    this.backend.run("copy", {
      x: from.span,
      xStrides: from.strides,
      out: this.slot,
      outStrides: contiguousStrides(from.shape),
      shape: from.shape,
    });
    if (from !== other) from.dispose();
  }

  /**
   * Exchanges the memory with another tensor of the same shape and type on the same device. Views of either keep what they had.
   * @throws if they differ, or one is a view
   * @internal
   */
  exchange(other: Tensor): void {
    if (
      `${this.shape}` !== `${other.shape}` || this.dtype !== other.dtype || this.backend !== other.backend
    ) {
      throw new Error(`exchange: ${other} does not fit ${this}`);
    }
    for (const t of [this, other]) {
      t.#mustBePlain("exchange");
      t.checkAlive();
      t.storage.version++;
    }
    [this.storage, other.storage] = [other.storage, this.storage];
  }

  /** Frees the memory, unless a view or the tape still holds it. Harmless when repeated. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    counters.liveTensors--;
    this.storage.release();
    this.node?.release();
    this.node = null;
    this.owner = null;
  }

  #mustBePlain(what: string): void {
    if (!this.isPlain) {
      throw new Error(`${what}: the tensor is a view (strides [${this.strides}]); write to its base`);
    }
  }

  /** a + b */
  abstract add(other: Operand): Tensor;
  /** a - b */
  abstract sub(other: Operand): Tensor;
  /** a * b */
  abstract mul(other: Operand): Tensor;
  /** a / b */
  abstract div(other: Operand): Tensor;
  /** The larger of the two; where they are equal, each gets half of the gradient. */
  abstract maximum(other: Operand): Tensor;
  /** The smaller of the two; where they are equal, each gets half of the gradient. */
  abstract minimum(other: Operand): Tensor;
  /** -x */
  abstract neg(): Tensor;
  /** |x|; the gradient at 0 is 0. */
  abstract abs(): Tensor;
  /** e^x */
  abstract exp(): Tensor;
  /** The natural logarithm. */
  abstract log(): Tensor;
  /** The square root. */
  abstract sqrt(): Tensor;
  /** x * x */
  abstract square(): Tensor;
  /** max(x, 0) */
  abstract relu(): Tensor;
  /** 1 / (1 + e^-x) */
  abstract sigmoid(): Tensor;
  /** x * sigmoid(x) */
  abstract swish(): Tensor;
  /** The hyperbolic tangent. */
  abstract tanh(): Tensor;
  /** log(1 + e^x), without overflow. */
  abstract softplus(): Tensor;
  /** x limited to [low, high]; no gradient outside. */
  abstract clamp(low: number, high: number): Tensor;
  /** A copy stored as f32 or f16. @throws if the tensor is i32, or the device has no f16 */
  abstract cast(dtype: DType): Tensor;
  /** The sum over the axes, all by default; [1, 2] takes [B, H, W, C] to [B, C]. */
  abstract sum(axes?: number | readonly number[], keepDims?: boolean): Tensor;
  /** The mean over the axes, all by default. */
  abstract mean(axes?: number | readonly number[], keepDims?: boolean): Tensor;
  /** The same values in another shape; one size may be -1, which is computed from the others. @throws if they do not fit */
  abstract reshape(...shape: number[]): Tensor;
  /** The axes in another order: out.shape[i] = x.shape[order[i]]. @throws if `order` is not a permutation */
  abstract permute(...order: number[]): Tensor;
  /** The part from `starts` (inclusive) to `ends` (exclusive), one pair for each leading axis. @throws if outside */
  abstract slice(starts: readonly number[], ends: readonly number[]): Tensor;
  /** x stretched to a larger shape by numpy's rules, without copying. @throws if it does not stretch */
  abstract expand(shape: Shape): Tensor;
}

/** The first values in row-major order, eight at most; null if they cannot be read at once. */
function firstValues(x: Tensor): number[] | null {
  const { backend, buffer, shape, strides, offset, dtype } = x;
  if (!backend.peek || dtype === "f16") return null;
  return Array.from({ length: Math.min(8, x.size) }, (_, i) => {
    let place = offset;
    for (let axis = shape.length - 1, rest = i; axis >= 0; axis--) {
      place += (rest % shape[axis]) * strides[axis];
      rest = Math.floor(rest / shape[axis]);
    }
    return backend.peek!(buffer, dtype, place, 1)[0];
  });
}

/** A row-major copy of a tensor, without history. */
export function materialize(x: Tensor, dtype: DType = x.dtype): Tensor {
  const out = x.like(x.shape, dtype);
  x.backend.run("copy", {
    x: x.span,
    xStrides: x.strides,
    out: out.slot,
    outStrides: out.strides,
    shape: x.shape,
  });
  return out;
}

/** An f32 tensor on the device of `x`, all of whose elements have one value. */
export function filled(x: Tensor, shape: Shape, value: number): Tensor {
  const out = x.like(shape, "f32");
  x.backend.run("fill", { out: out.slot, value });
  return out;
}

/** @throws if the backend has no f16 */
export function requireF16({ hasF16, name, description }: Backend): void {
  if (hasF16) return;
  throw new Error(
    `f16: the device "${name}" (${description}) stores no 16-bit floats: use f32, or a GPU with the feature shader-f16`,
  );
}
