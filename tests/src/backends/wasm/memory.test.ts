// The limit of the CPU's memory.
import { expect, test } from "bun:test";
import process from "node:process";
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

test("the threads' own memory takes a quarter of all at most", () => {
  const before = process.env.TESSERA_THREADS;
  process.env.TESSERA_THREADS = "1e9";
  const backend = new WasmBackend(2 ** 28);
  if (before === undefined) delete process.env.TESSERA_THREADS;
  else process.env.TESSERA_THREADS = before;
  expect(backend.threads).toBe(32);
  backend.free(backend.alloc(3 * 2 ** 26 - 2 ** 20));
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
