// The tensor library in one import: tensors, autograd, operations, random numbers, devices.
export { type Operand, requireF16, Tensor } from "./array.ts";
export { backward, checkpoint, grad, type GradOptions } from "./autograd.ts";
export { type Backend, OutOfMemoryError } from "./backends/backend.ts";
export type { DType, Shape, TypedArray, Values } from "./backends/buffer.ts";
export type { AdamSpec } from "./backends/kernels.ts";
export { currentBackend, device, type DeviceName, type DeviceOptions } from "./device.ts";
export * from "./ops/index.ts";
export type { Parts } from "./parts.ts";
export { Random, type RandomState } from "./random.ts";
export { asyncScope, isGradEnabled, keep, noGrad, type Owned, scope } from "./scope.ts";
export { type Recompute, record, type Vjp } from "./tape.ts";
export {
  full,
  memory,
  type MemoryUse,
  ones,
  resetPeakBytes,
  tensor,
  type TensorOptions,
  zeros,
} from "./tensor.ts";
