// The tensor library in one import: tensors, autograd, operations, random numbers, devices.
import "./methods.ts";

export { backward, checkpoint, grad, isGradEnabled, noGrad } from "./autograd.ts";
export { type AdamSpec, type Backend, OutOfMemoryError } from "./backends/backend.ts";
export { adamStep } from "./ops/adam.ts";
export { currentBackend, device, type DeviceName } from "./device.ts";
export * from "./ops/index.ts";
export { Random, type RandomState } from "./random.ts";
export { asyncScope, keep, scope } from "./scope.ts";
export {
  type DType,
  full,
  memory,
  ones,
  requireF16,
  resetPeakBytes,
  type Shape,
  Tensor,
  tensor,
  type TypedArray,
  zeros,
} from "./tensor.ts";
