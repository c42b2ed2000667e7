// Which blocks of the GPU's memory are kept, and which are destroyed.
import { expect, test } from "bun:test";
import { WebGpuBackend } from "../../../../../src/backends/webgpu/backend.ts";
import { describeDevices } from "../../../../support/devices.ts";

describeDevices("memory of the GPU", () => {
  test("keeps the blocks of a step while a part of it needs few of them", async () => {
    const own = await WebGpuBackend.open(), megabyte = 2 ** 20;
    const step = () => {
      const large = Array.from({ length: 10 }, () => own.alloc(50 * megabyte));
      for (const buffer of large) own.free(buffer);
      for (let size = 5; size < 20; size++) own.free(own.alloc(size * megabyte));
    };
    step();
    const { buffers } = own.gpu.counts, { reservedBytes } = own.memory();
    step();
    expect(own.gpu.counts.buffers).toBe(buffers);
    expect(own.memory().reservedBytes).toBe(reservedBytes);
  });

  test("destroys the blocks of shapes that are no longer used", async () => {
    const own = await WebGpuBackend.open(), megabyte = 2 ** 20;
    let most = 0;
    for (let size = 16; size < 120; size++) {
      const buffers = [size, size].map((size) => own.alloc(size * megabyte));
      for (const buffer of buffers) {
        own.run("fill", { out: { buffer, offset: 0, length: 4, itemBytes: 4 }, value: size });
      }
      most = Math.max(most, own.memory().reservedBytes);
      expect(await own.read(buffers[1], "f32", 0, 1)).toEqual(Float32Array.of(size));
      for (const buffer of buffers) own.free(buffer);
    }
    expect(most).toBeLessThan(800 * megabyte);
  });
}, ["webgpu"]);
