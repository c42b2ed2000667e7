// Which backend new tensors live on. The CPU starts by itself on first use.
import type { Backend } from "./backends/backend.ts";
import { WasmBackend } from "./backends/wasm/backend.ts";
import { flow, inFlow } from "./scope.ts";

export type DeviceName = "cpu" | "webgpu" | "auto" | "gpujs";

let cpu: WasmBackend | null = null;
let current: Backend | null = null;
/** Opened once, when first asked for. Who does not ask does not load their packages. */
const opened = new Map<DeviceName, Promise<Backend>>();
const openers: Partial<Record<DeviceName, () => Promise<Backend>>> = {
  webgpu: async () => await (await import("./backends/webgpu/backend.ts")).WebGpuBackend.open(),
  gpujs: async () => new (await import("./backends/gpujs/backend.ts")).GpuJsBackend(),
};

/** The backend that new tensors are made on. */
export function currentBackend(): Backend {
  return flow().backend ?? (current ??= cpu ??= new WasmBackend());
}

/** Runs `fn`, which may await, with new tensors on `backend`. */
export function withBackend<T>(backend: Backend, fn: () => T): T {
  return inFlow({ backend }, fn);
}

/**
 * Chooses the backend for tensors made from now on and answers it. A tensor stays where it was made, and an operation's
 * tensors must be on one backend.
 * - `"cpu"` computes in WebAssembly on all cores.
 * - `"webgpu"` computes on the GPU (docs/webgpu.md). Faults of the GPU are thrown when values are read.
 * - `"auto"` is the GPU where there is one that does not compute on the CPU, else the CPU; the answer's `description`
 *   tells which.
 * - `"gpujs"` is the reference: every operation by its definition, readable and slow.
 *
 * `exact` turns Winograd's convolutions off: they err about twice as much as the definition (docs/accuracy.md) and are
 * three times as fast. Unsaid, it is as it was: at first what the environment variable TESSERA_EXACT says, 1 or 0; else
 * off, but on for real GPUs, where Winograd gains little (docs/webgpu.md).
 *
 * @throws if the name is not that of a device; if there is no GPU, or only one that computes on the CPU
 * (TESSERA_SOFTWARE_GPU=1 allows that).
 * @example
 * const { description } = await device("webgpu"); // the name of the GPU
 */
export async function device(name: DeviceName, options: { exact?: boolean } = {}): Promise<Backend> {
  if (name === "cpu") return choose(cpu ??= new WasmBackend(), options.exact);
  if (name === "auto") {
    const { findAdapter, NoAdapterError } = await import("./backends/webgpu/device/adapter.ts");
    const adapter = await findAdapter().catch((error: unknown) => {
      if (error instanceof NoAdapterError) return null;
      throw error;
    });
    return await device(adapter && !adapter.report.isSoftware ? "webgpu" : "cpu", options);
  }
  const open = openers[name];
  if (!open) throw new Error(`device: there is no device "${name}", use "cpu", "webgpu", "auto" or "gpujs"`);
  const opening = opened.get(name) ?? open();
  opened.set(name, opening);
  try {
    return choose(await opening, options.exact);
  } catch (error) {
    opened.delete(name); // a driver may be installed by the next time
    throw error;
  }
}

function choose(backend: Backend, exact: boolean | undefined): Backend {
  if (exact !== undefined && backend.exact !== undefined) backend.exact = exact;
  return current = backend;
}
