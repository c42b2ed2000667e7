// Tensor: a shape and strides over reference-counted memory. Tensors made in a scope are freed with it (scope.ts);
// what backward needs is retained by the tape alone (autograd.ts).
import {
  type Backend,
  type Buffer,
  type DType,
  itemBytes,
  type Shape,
  type TypedArray,
  type Values,
  type View,
} from "./backends/backend.ts";
import { currentBackend } from "./device.ts";
import type { Node } from "./autograd.ts";
import { adopt, type Scope } from "./scope.ts";

export type { DType, Shape, TypedArray, Values };

let liveBytes = 0;
let peakBytes = 0;
let liveTensors = 0;
let nextId = 1;

/** Numbers every tensor and tape node in order of creation. */
export function takeId(): number {
  return nextId++;
}

/** Device memory shared by a tensor and its views, freed when the last of them lets go. */
export class Storage {
  readonly backend: Backend;
  readonly buffer: Buffer;

  #references = 1;
  /** Counts in-place writes, so that the tape notices a saved value that has changed. */
  version = 0;

  constructor(backend: Backend, buffer: Buffer) {
    this.backend = backend;
    this.buffer = buffer;
    liveBytes += buffer.bytes;
    peakBytes = Math.max(peakBytes, liveBytes);
  }

  get shared(): boolean {
    return this.#references > 1;
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references > 0) return;
    liveBytes -= this.buffer.bytes;
    this.backend.free(this.buffer);
  }
}

/**
 * An n-dimensional array of f32, f16 or i32 numbers on a backend. Images are NHWC. f16 halves the memory of what a GPU
 * stores; operations compute in f32 nevertheless, and give f16 where all their operands are.
 * Operations are methods here (`x.add(y)`) and functions (`add(x, y)`); both follow numpy's broadcasting.
 *
 * @example
 * const x = tensor([1, 2, 3, 4], [2, 2]);
 * await x.mul(2).sum().item(); // 20
 */
export class Tensor {
  readonly storage: Storage;
  readonly shape: Shape;
  readonly dtype: DType;
  readonly strides: readonly number[];
  readonly offset: number;

  readonly id: number = takeId();
  readonly size: number;
  /** Whether `backward` accumulates into `grad`; set it on leaves (parameters). */
  requiresGrad = false;
  grad: Tensor | null = null;
  /** The operation that made this tensor, if it is on the tape. */
  node: Node | null = null;
  owner: Scope | null = null;
  #disposed = false;

  constructor(
    storage: Storage,
    shape: Shape,
    dtype: DType,
    strides: readonly number[] = contiguousStrides(shape),
    offset = 0,
  ) {
    this.storage = storage;
    this.shape = shape;
    this.dtype = dtype;
    this.strides = strides;
    this.offset = offset;
    this.size = sizeOf(shape);
    liveTensors++;
    adopt(this);
  }

  get ndim(): number {
    return this.shape.length;
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /** Whether the elements lie in row-major order without gaps, from the start of the storage. */
  get isPlain(): boolean {
    if (this.offset !== 0) return false;
    let step = 1;
    for (let i = this.ndim - 1; i >= 0; i--) {
      if (this.shape[i] !== 1 && this.strides[i] !== step) return false;
      step *= this.shape[i];
    }
    return true;
  }

  get backend(): Backend {
    return this.storage.backend;
  }

  /** The memory behind the tensor. @throws if the tensor was disposed. */
  get buffer(): Buffer {
    if (this.#disposed) {
      throw new Error(
        `tensor of shape [${this.shape}] was already freed: return it from its scope, or keep() it`,
      );
    }
    return this.storage.buffer;
  }

  get view(): View {
    return { buffer: this.buffer, offset: this.offset, strides: this.strides };
  }

  /** A copy of the values in row-major order. The only operation that waits for the device. */
  async data(): Promise<Values> {
    const dtype = this.dtype === "i32" ? "i32" : "f32";
    const plain = this.isPlain && this.dtype === dtype ? this : materialize(this, dtype);
    const values = await plain.backend.read(plain.buffer, dtype, 0, this.size);
    if (plain !== this) plain.dispose();
    return values;
  }

  /** `data()` of a tensor of floats. @throws if the tensor holds integers. */
  async floats(): Promise<Float32Array<ArrayBuffer>> {
    const values = await this.data();
    if (values instanceof Float32Array) return values;
    throw new Error(`floats: the tensor is ${this.dtype}, use ints()`);
  }

  /** `data()` of an i32 tensor. @throws if the tensor holds floats. */
  async ints(): Promise<Int32Array<ArrayBuffer>> {
    const values = await this.data();
    if (values instanceof Int32Array) return values;
    throw new Error(`ints: the tensor is ${this.dtype}, use floats()`);
  }

  /** The value of a tensor with one element. @throws if there are more. */
  async item(): Promise<number> {
    if (this.size !== 1) {
      throw new Error(`item: the tensor has ${this.size} elements (shape [${this.shape}])`);
    }
    return (await this.data())[0];
  }

  /** The same values without history: gradients stop here. Shares memory. */
  detach(): Tensor {
    return new Tensor(this.storage.retain(), this.shape, this.dtype, this.strides, this.offset);
  }

  /** Overwrites elements from `offset` on, in place. @throws if they do not fit or the tensor is a view. */
  write(values: TypedArray, offset = 0): void {
    this.#mustBePlain("write");
    if (this.dtype === "f16") throw new Error("write: the tensor is f16; write an f32 tensor and cast() it");
    if (offset < 0 || offset + values.length > this.size) {
      throw new Error(`write: ${values.length} values at ${offset} do not fit shape [${this.shape}]`);
    }
    this.storage.version++;
    this.backend.write(this.buffer, values, offset);
  }

  /** Overwrites this tensor in place with the values of another of the same shape. */
  assign(other: Tensor): void {
    if (other.size !== this.size) {
      throw new Error(`assign: shape [${other.shape}] does not fit shape [${this.shape}]`);
    }
    this.#mustBePlain("assign");
    this.storage.version++;
    this.backend.copy(
      other.view,
      { buffer: this.buffer, offset: 0, strides: contiguousStrides(other.shape) },
      other.shape,
    );
  }

  /** Frees the memory (unless a view or the tape still holds it). Harmless when repeated. */
  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    liveTensors--;
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
}

/** Row-major strides, in elements. */
export function contiguousStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let step = 1;
  for (let i = shape.length - 1; i >= 0; i--) {
    strides[i] = step;
    step *= shape[i];
  }
  return strides;
}

export function sizeOf(shape: Shape): number {
  let size = 1;
  for (const n of shape) {
    if (!Number.isInteger(n) || n < 0) {
      throw new Error(`shape [${shape}] has a size that is not a whole number`);
    }
    size *= n;
  }
  return size;
}

/** @throws if the backend has no f16 */
export function requireF16({ hasF16, name, description }: Backend): void {
  if (hasF16) return;
  throw new Error(
    `f16: the device "${name}" (${description}) stores no 16-bit floats: use f32, or the device "webgpu" on a GPU with ` +
      "the feature shader-f16 (tessera doctor tells)",
  );
}

/** A new tensor with arbitrary content. @throws if it is to hold f16 and the backend has none. */
export function empty(shape: Shape, dtype: DType = "f32", backend: Backend = currentBackend()): Tensor {
  if (dtype === "f16") requireF16(backend);
  const buffer = backend.alloc(sizeOf(shape) * itemBytes[dtype], dtype);
  return new Tensor(new Storage(backend, buffer), [...shape], dtype);
}

/** A row-major copy of a view. */
export function materialize(x: Tensor, dtype: DType = x.dtype): Tensor {
  const out = empty(x.shape, dtype, x.backend);
  x.backend.copy(x.view, out.view, x.shape);
  return out;
}

/**
 * A tensor from numbers in row-major order; the shape defaults to one dimension.
 * @throws if the number of values does not match the shape.
 */
export function tensor(
  values: ArrayLike<number>,
  shape: Shape = [values.length],
  options: { dtype?: "f32" | "i32"; requiresGrad?: boolean } = {},
): Tensor {
  const dtype = options.dtype ?? (values instanceof Int32Array ? "i32" : "f32");
  const out = empty(shape, dtype);
  if (values.length !== out.size) {
    throw new Error(`tensor: ${values.length} values do not fill shape [${shape}] (${out.size} elements)`);
  }
  const typed = values instanceof Float32Array || values instanceof Int32Array ? values : null;
  const fits = typed && (typed instanceof Int32Array) === (dtype === "i32");
  out.write(fits ? typed : dtype === "i32" ? Int32Array.from(values) : Float32Array.from(values));
  out.requiresGrad = options.requiresGrad ?? false;
  return out;
}

export function full(shape: Shape, value: number, backend: Backend = currentBackend()): Tensor {
  const out = empty(shape, "f32", backend);
  out.backend.fill(out.buffer, out.size, value);
  return out;
}

export function zeros(shape: Shape, dtype: DType = "f32", backend: Backend = currentBackend()): Tensor {
  const out = empty(shape, dtype, backend);
  out.backend.fill(out.buffer, out.size, 0); // all bits 0 is 0 in i32 as well
  return out;
}

export function ones(shape: Shape): Tensor {
  return full(shape, 1);
}

/** What the library holds now: bytes and tensors alive, the highest so far, and what the device has reserved. */
export function memory(): {
  liveBytes: number;
  peakBytes: number;
  liveTensors: number;
  reservedBytes: number;
} {
  return { liveBytes, peakBytes, liveTensors, reservedBytes: currentBackend().memory().reservedBytes };
}

/** Lets `memory().peakBytes` begin anew at what is alive now, to measure what follows. */
export function resetPeakBytes(): void {
  peakBytes = liveBytes;
}
