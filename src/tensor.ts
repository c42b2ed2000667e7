// The class that implements Tensor, with a method for each operation, and the functions that make tensors.
import { type Operand, requireF16, Tensor } from "./array.ts";
import type { Backend } from "./backends/backend.ts";
import { type DType, itemBytes, type Shape, type TypedArray } from "./backends/buffer.ts";
import { check, checkOptions, flag, isNumber, oneOf, type Rules, shown, storedAs } from "./check.ts";
import { counters } from "./counters.ts";
import { currentBackend } from "./device.ts";
import * as ops from "./ops/index.ts";
import { openScope } from "./scope.ts";
import { contiguousStrides, sizeOf } from "./shape.ts";
import { Storage } from "./storage.ts";

/** If a method were missing here, the file would not compile. */
class DeviceTensor extends Tensor {
  override like(shape: Shape, dtype: DType = this.dtype): Tensor {
    return empty(shape, dtype, this.backend);
  }

  override alias(
    shape: Shape,
    strides: readonly number[] = contiguousStrides(shape),
    offset: number = this.offset,
  ): Tensor {
    const scope = openScope();
    return new DeviceTensor(this.storage.retain(), shape, this.dtype, strides, offset, scope);
  }

  override add(other: Operand): Tensor {
    return ops.add(this, other);
  }

  override sub(other: Operand): Tensor {
    return ops.sub(this, other);
  }

  override mul(other: Operand): Tensor {
    return ops.mul(this, other);
  }

  override div(other: Operand): Tensor {
    return ops.div(this, other);
  }

  override maximum(other: Operand): Tensor {
    return ops.maximum(this, other);
  }

  override minimum(other: Operand): Tensor {
    return ops.minimum(this, other);
  }

  override neg(): Tensor {
    return ops.neg(this);
  }

  override abs(): Tensor {
    return ops.abs(this);
  }

  override exp(): Tensor {
    return ops.exp(this);
  }

  override log(): Tensor {
    return ops.log(this);
  }

  override sqrt(): Tensor {
    return ops.sqrt(this);
  }

  override square(): Tensor {
    return ops.square(this);
  }

  override relu(): Tensor {
    return ops.relu(this);
  }

  override sigmoid(): Tensor {
    return ops.sigmoid(this);
  }

  override swish(): Tensor {
    return ops.swish(this);
  }

  override tanh(): Tensor {
    return ops.tanh(this);
  }

  override softplus(): Tensor {
    return ops.softplus(this);
  }

  override clamp(low: number, high: number): Tensor {
    return ops.clamp(this, low, high);
  }

  override cast(dtype: DType): Tensor {
    return ops.cast(this, dtype);
  }

  override sum(axes?: number | readonly number[], keepDims?: boolean): Tensor {
    return ops.sum(this, axes, keepDims);
  }

  override mean(axes?: number | readonly number[], keepDims?: boolean): Tensor {
    return ops.mean(this, axes, keepDims);
  }

  override reshape(...shape: number[]): Tensor {
    return ops.reshape(this, shape);
  }

  override permute(...order: number[]): Tensor {
    return ops.permute(this, order);
  }

  override slice(starts: readonly number[], ends: readonly number[]): Tensor {
    return ops.slice(this, starts, ends);
  }

  override expand(shape: Shape): Tensor {
    return ops.expand(this, shape);
  }
}

/** A new tensor whose values are still undefined. @throws if it is f16 and the backend has no f16 */
export function empty(shape: Shape, dtype: DType = "f32", backend: Backend = currentBackend()): Tensor {
  if (!Object.hasOwn(itemBytes, dtype)) check("tensor", "dtype", dtype, storedAs);
  const scope = openScope();
  if (dtype === "f16") requireF16(backend);
  const buffer = backend.alloc(sizeOf(shape) * itemBytes[dtype]);
  return new DeviceTensor(
    new Storage(backend, buffer),
    [...shape],
    dtype,
    contiguousStrides(shape),
    0,
    scope,
  );
}

/** The options of `tensor`. */
export interface TensorOptions {
  /** Default i32 for an Int32Array, f32 for all other numbers. */
  readonly dtype?: "f32" | "i32";
  /** Whether `backward` leaves its gradient in `.grad`. Default false. */
  readonly requiresGrad?: boolean;
}

const tensorRules: Rules<TensorOptions> = { dtype: oneOf("f32", "i32"), requiresGrad: flag };

/**
 * A tensor from numbers in row-major order, on the device that `device()` chose; the shape defaults to one dimension.
 *
 * @example
 * ```ts
 * import { tensor } from "@tessera/vqgan/core";
 *
 * const x = tensor([1, 2, 3, 4, 5, 6], [2, 3]);
 * const tokens = tensor(Int32Array.of(7, 1, 7, 4), [1, 2, 2]); // i32
 * ```
 * @throws if the values do not fill the shape, or one is not a number, or not a whole number for an i32 tensor; or if an
 * i32 tensor should have a gradient
 */
export function tensor(
  values: ArrayLike<number>,
  shape: Shape = [values?.length],
  options: TensorOptions = {},
): Tensor {
  checkOptions("tensor", options, tensorRules);
  const dtype = options.dtype ?? (values instanceof Int32Array ? "i32" : "f32");
  const typed = typedArray(values, dtype);
  const size = sizeOf(shape);
  if (typed.length !== size) {
    throw new Error(`tensor: ${typed.length} values do not fill shape [${shape}] (${size} elements)`);
  }
  if (options.requiresGrad && dtype === "i32") {
    throw new Error("tensor: an i32 tensor has no gradient, so requiresGrad cannot be true; use f32");
  }
  const out = empty(shape, dtype);
  out.write(typed);
  out.requiresGrad = options.requiresGrad ?? false;
  return out;
}

/** The values as a typed array. @throws if one is not a number, or not a whole number for i32 */
function typedArray(values: ArrayLike<number>, dtype: "f32" | "i32"): TypedArray {
  if (values instanceof (dtype === "i32" ? Int32Array : Float32Array)) return values;
  if (typeof values !== "object" || values === null || !("length" in values)) {
    const advice = isNumber(values) ? "; full([], value) makes a tensor of one number" : "";
    throw new TypeError(`tensor: the values are ${shown(values)}, expected a list of numbers${advice}`);
  }
  const fits = dtype === "i32" ? (n: number) => (n | 0) === n : isNumber;
  for (let i = 0; i < values.length; i++) {
    if (fits(values[i])) continue;
    const advice = Array.isArray(values[i]) ? "; give one flat list, and the shape after it" : "";
    const wanted = dtype === "i32" ? "a whole number of 32 bits, because the tensor is i32" : "a number";
    throw new TypeError(`tensor: value ${i} is ${shown(values[i])}, expected ${wanted}${advice}`);
  }
  return dtype === "i32" ? Int32Array.from(values) : Float32Array.from(values);
}

/** An f32 tensor, all of whose elements have one value. */
export function full(shape: Shape, value: number, backend: Backend = currentBackend()): Tensor {
  if (!isNumber(value)) throw new TypeError(`full: the value is ${shown(value)}, expected a number`);
  const out = empty(shape, "f32", backend);
  backend.run("fill", { out: out.slot, value });
  return out;
}

/** A tensor of zeros. */
export function zeros(shape: Shape, dtype: DType = "f32", backend: Backend = currentBackend()): Tensor {
  const out = empty(shape, dtype, backend);
  backend.run("fill", { out: out.slot, value: 0 }); // all bits 0 is 0 in i32 as well
  return out;
}

/** A tensor of ones, f32. */
export function ones(shape: Shape): Tensor {
  return full(shape, 1);
}

/** The result of `memory()`. */
export interface MemoryUse {
  /** Bytes in all tensors alive. */
  liveBytes: number;
  /** The largest value of `liveBytes` since the start or since `resetPeakBytes()`. */
  peakBytes: number;
  /** How many tensors are alive, views included. */
  liveTensors: number;
  /** Bytes that the current device has taken from the system, used or not. */
  reservedBytes: number;
}

/** How much memory the library uses now. If `liveTensors` grows from call to call, tensors leak: use `scope`. */
export function memory(): MemoryUse {
  return { ...counters, reservedBytes: currentBackend().memory().reservedBytes };
}

/** Sets `memory().peakBytes` back to `liveBytes`, to measure what follows. */
export function resetPeakBytes(): void {
  counters.peakBytes = counters.liveBytes;
}
