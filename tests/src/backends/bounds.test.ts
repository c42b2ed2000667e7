// The check that every backend makes before it runs a kernel (bounds.ts), and the messages of what it refuses.
import { expect, test } from "bun:test";
import type { Slot } from "../../../src/backends/buffer.ts";
import { device } from "../../../src/index.ts";
import { describeDevices } from "../../support/devices.ts";

const report = ". This is an error in Tessera: please report it";

describeDevices("the check of bounds", (each) => {
  test("refuses operands outside their buffers", async () => {
    const backend = await device(each), buffer = backend.alloc(40);
    const out = (offset: number, length: number): Slot => ({ buffer, offset, length, itemBytes: 4 });
    backend.run("fill", { out: out(0, 10), value: 0 });
    for (const [offset, length] of [[7, 4], [-1, 3], [2, -1], [0.5, 1], [NaN, 1], [0, NaN], [2 ** 32, 1]]) {
      expect(() => backend.run("fill", { out: out(offset, length), value: 0 })).toThrow(
        `fill: operand out has ${length} elements of 4 bytes from element ${offset} on, in a buffer of 40 bytes, ` +
          `and ${length} elements are needed${report}`,
      );
    }
    const rows = { x: out(0, 9), out: out(0, 3), scale: 1 };
    expect(() => backend.run("sumRows", { ...rows, rows: 3, columns: 4 })).toThrow(
      `sumRows: operand x has 9 elements of 4 bytes from element 0 on, in a buffer of 40 bytes, and 12 elements are ` +
        `needed${report}`,
    );
    backend.free(buffer);
  });

  test("refuses sizes that are no sizes", async () => {
    const backend = await device(each), buffer = backend.alloc(40);
    const slot: Slot = { buffer, offset: 0, length: 9, itemBytes: 4 };
    for (const rows of [-3, 1.5, NaN, 2 ** 32]) {
      expect(() => backend.run("softmax", { x: slot, out: slot, rows, columns: -3, scale: 1 })).toThrow(
        "softmax: its sizes must be whole numbers from 0 to 4294967295 that fit each other: " +
          `{x:9,out:9,rows:${rows},columns:-3,scale:1}${report}`,
      );
    }
    const nothing: Slot = { ...slot, length: 0 };
    expect(() => backend.run("sumColumns", { x: nothing, out: slot, rows: 0, columns: 9 })).toThrow(
      "sumColumns: its sizes must be whole numbers",
    );
    backend.free(buffer);
  });

  test("refuses buffers that were freed, and to free them twice", async () => {
    const backend = await device(each), buffer = backend.alloc(40);
    const out: Slot = { buffer, offset: 0, length: 10, itemBytes: 4 };
    backend.free(buffer);
    expect(() => backend.run("fill", { out, value: 0 })).toThrow("in a buffer that was freed");
    expect(() => backend.free(buffer)).toThrow("a buffer of 40 bytes was freed twice");
  });

  test("refuses to write and read beyond a buffer", async () => {
    const backend = await device(each), buffer = backend.alloc(40);
    expect(() => backend.write(buffer, new Float32Array(4), 7)).toThrow(
      `write: operand buffer has 4 elements of 4 bytes from element 7 on, in a buffer of 40 bytes`,
    );
    const reading = async () => await backend.read(buffer, "f32", -1, 3);
    await expect(reading()).rejects.toThrow(
      "read: operand buffer has 3 elements of 4 bytes from element -1 on",
    );
    backend.free(buffer);
  });

  test("refuses numbers of 16 bits where there are none", async () => {
    const backend = await device(each), buffer = backend.alloc(40);
    const half: Slot = { buffer, offset: 0, length: 20, itemBytes: 2 };
    const fill = () => backend.run("fill", { out: half, value: 0 });
    if (backend.hasF16) fill();
    else expect(fill).toThrow("fill: operand out has 20 elements of 2 bytes");
    backend.free(buffer);
  });
});
