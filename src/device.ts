// Which backend new tensors live on. The CPU starts by itself on first use.
import type { Backend } from "./backends/backend.ts";
import { WasmBackend } from "./backends/wasm/backend.ts";

export type DeviceName = "cpu" | "gpujs";

let cpu: WasmBackend | null = null;
let gpujs: Backend | null = null;
let current: Backend | null = null;

/** The backend that new tensors are made on. */
export function currentBackend(): Backend {
  return current ??= cpu ??= new WasmBackend();
}

/**
 * Chooses the backend for tensors made from now on and answers it. A tensor stays where it was made, and an operation's
 * tensors must be on one backend. `"gpujs"` is the reference: every operation by its definition, readable and slow.
 * `exact` turns the CPU's Winograd convolutions off: they err about twice as much as the definition (docs/accuracy.md)
 * and are three times as fast. Unsaid, it is as it was: off, or what the environment variable TESSERA_EXACT=1 says.
 * @throws if the name is not that of a device.
 */
export async function device(name: DeviceName, options: { exact?: boolean } = {}): Promise<Backend> {
  if (name === "gpujs") {
    const { GpuJsBackend } = await import("./backends/gpujs/backend.ts"); // who does not ask does not load gpu.js
    return current = gpujs ??= new GpuJsBackend();
  }
  if (name !== "cpu") throw new Error(`device: there is no device "${name}", use "cpu" or "gpujs"`);
  cpu ??= new WasmBackend();
  if (options.exact !== undefined) cpu.exact = options.exact;
  return current = cpu;
}
