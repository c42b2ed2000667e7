// Which backend new tensors live on. The CPU starts by itself on first use.
import type { Backend } from "./backends/backend.ts";
import { WasmBackend } from "./backends/wasm/backend.ts";

export type DeviceName = "cpu";

let current: Backend | null = null;

/** The backend that new tensors are made on. */
export function currentBackend(): Backend {
  return current ??= new WasmBackend();
}

/**
 * Chooses the backend for tensors made from now on and answers it.
 * @throws if the name is not that of a device.
 */
export function device(name: DeviceName): Promise<Backend> {
  if (name !== "cpu") return Promise.reject(new Error(`device: there is no device "${name}", use "cpu"`));
  return Promise.resolve(currentBackend());
}
