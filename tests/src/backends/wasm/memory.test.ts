// The limit of the CPU's memory.
import { expect, test } from "bun:test";
import { OutOfMemoryError } from "../../../../src/backends/backend.ts";
import { WasmBackend } from "../../../../src/backends/wasm/backend.ts";
import { device } from "../../../../src/index.ts";

test("the CPU takes no more memory than the limit", () => {
  const backend = new WasmBackend(2 ** 28);
  const most = backend.alloc(2 ** 27);
  expect(() => backend.alloc(2 ** 27)).toThrow(OutOfMemoryError);
  backend.free(most);
  backend.free(backend.alloc(2 ** 27));
});

test("a limit that makes no sense, or comes too late, is refused", async () => {
  for (const bytes of [NaN, 0, 2 ** 20, 2 ** 33]) {
    expect(() => new WasmBackend(bytes)).toThrow(
      `cpu: maxBytes is ${bytes}, use 268435456 (256 MiB) to 4294967296 (4 GiB)`,
    );
  }
  await device("cpu");
  await expect(device("cpu", { maxBytes: 2 ** 29 })).rejects.toThrow("give maxBytes before the first tensor");
});
