// A backend that computes nothing and counts memory: what a program would take is known without running it.
import type { Backend, Buffer, DType, Values } from "./backend.ts";

const nothing = (): void => {};

export class DryBackend implements Backend {
  readonly name = "dry";
  readonly description = "counts memory, computes nothing";
  readonly hasF16 = true;
  #bytes = 0;
  /** The most bytes held at a time, and those of the largest tensor. */
  peak = 0;
  largest = 0;

  alloc(bytes: number): Buffer {
    this.#bytes += bytes;
    this.peak = Math.max(this.peak, this.#bytes);
    this.largest = Math.max(this.largest, bytes);
    return { bytes };
  }

  free({ bytes }: Buffer): void {
    this.#bytes -= bytes;
  }

  memory(): { reservedBytes: number } {
    return { reservedBytes: this.#bytes };
  }

  /** Zeros. */
  read(_buffer: Buffer, dtype: Exclude<DType, "f16">, _offset: number, length: number): Promise<Values> {
    return Promise.resolve(dtype === "i32" ? new Int32Array(length) : new Float32Array(length));
  }

  pause(): Promise<void> {
    return Promise.resolve();
  }

  readonly write = nothing;
  readonly fill = nothing;
  readonly unary = nothing;
  readonly binary = nothing;
  readonly copy = nothing;
  readonly reduceRows = nothing;
  readonly sumColumns = nothing;
  readonly gather = nothing;
  readonly scatterAdd = nothing;
  readonly matmul = nothing;
  readonly conv2d = nothing;
  readonly conv2dInputGrad = nothing;
  readonly conv2dWeightGrad = nothing;
  readonly softmax = nothing;
  readonly softmaxGrad = nothing;
  readonly nearestCode = nothing;
  readonly groupNorm = nothing;
  readonly groupNormStats = nothing;
  readonly groupNormApply = nothing;
  readonly groupNormGrad = nothing;
  readonly maxPool2d = nothing;
  readonly maxPool2dGrad = nothing;
  readonly lpipsDistance = nothing;
  readonly lpipsDistanceGrad = nothing;
  readonly adamStep = nothing;
}
