// A tensor's memory: an ArrayBuffer of its own, with views as floats and as integers.
import { OutOfMemoryError } from "../backend.ts";
import { type Buffer, mib, type Slot } from "../buffer.ts";

export class GpuJsBuffer implements Buffer {
  readonly bytes: number;
  isFreed = false;

  readonly floats: Float32Array;
  readonly ints: Int32Array;

  /** @throws if the system does not have so much memory */
  constructor(bytes: number) {
    this.bytes = bytes;
    try {
      const memory = new ArrayBuffer(Math.ceil(bytes / 4) * 4);
      this.floats = new Float32Array(memory);
      this.ints = new Int32Array(memory);
    } catch {
      throw new OutOfMemoryError(
        `out of memory: ${
          mib(bytes)
        } requested for one tensor on gpujs; use smaller pictures or a batch of 1`,
        { largest: bytes - 1 },
      );
    }
  }
}

/** The buffer as this backend's class. @throws if another backend made it */
export function whole(buffer: Buffer): GpuJsBuffer {
  if (buffer instanceof GpuJsBuffer) return buffer;
  throw new Error("gpujs: the tensor is on another device");
}

/** The elements of an operand. */
export const floats = ({ buffer, offset, length }: Slot): Float32Array =>
  whole(buffer).floats.subarray(offset, offset + length);
export const ints = ({ buffer, offset, length }: Slot): Int32Array =>
  whole(buffer).ints.subarray(offset, offset + length);
