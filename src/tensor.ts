// The class behind Tensor: a method for each operation, and the functions that make tensors from numbers.
import { type Operand, requireF16, Tensor } from "./array.ts";
import type { Backend } from "./backends/backend.ts";
import { type DType, itemBytes, type Shape } from "./backends/buffer.ts";
import { currentBackend } from "./device.ts";
import * as ops from "./ops/index.ts";
import { openScope } from "./scope.ts";
import { contiguousStrides, sizeOf } from "./shape.ts";
import { counters, Storage } from "./storage.ts";

/** A method that is missing here does not compile. */
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

/** A new tensor with arbitrary content. @throws if it is to hold f16 and the backend has none */
export function empty(shape: Shape, dtype: DType = "f32", backend: Backend = currentBackend()): Tensor {
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

/** A tensor of one value, f32. */
export function full(shape: Shape, value: number, backend: Backend = currentBackend()): Tensor {
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

/** What the library holds now: bytes and tensors alive, the highest so far, and what the device has reserved. */
export function memory(): {
  liveBytes: number;
  peakBytes: number;
  liveTensors: number;
  reservedBytes: number;
} {
  return { ...counters, reservedBytes: currentBackend().memory().reservedBytes };
}

/** Lets `memory().peakBytes` begin anew at what is alive now, to measure what follows. */
export function resetPeakBytes(): void {
  counters.peakBytes = counters.liveBytes;
}
