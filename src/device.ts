// Which backend new tensors live on. The CPU starts by itself on first use.
import type { Backend } from "./backends/backend.ts";
import { WasmBackend } from "./backends/wasm/backend.ts";

export type DeviceName = "cpu";

let current: WasmBackend | null = null;

/** The backend that new tensors are made on. */
export function currentBackend(): Backend {
  return current ??= new WasmBackend();
}

/**
 * Chooses the backend for tensors made from now on and answers it. `exact` turns Winograd's convolutions off: they err
 * about twice as much as the definition (docs/accuracy.md) and are three times as fast. Unsaid, it is as it was: off, or
 * what the environment variable TESSERA_EXACT=1 says.
 * @throws if the name is not that of a device.
 */
export function device(name: DeviceName, options: { exact?: boolean } = {}): Promise<Backend> {
  if (name !== "cpu") return Promise.reject(new Error(`device: there is no device "${name}", use "cpu"`));
  current ??= new WasmBackend();
  if (options.exact !== undefined) current.exact = options.exact;
  return Promise.resolve(current);
}
