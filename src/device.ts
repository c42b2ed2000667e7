// Chooses the backend on which new tensors are made. Without a choice it is the CPU, opened on first use.
import type { Backend } from "./backends/backend.ts";
import { profiled } from "./backends/profile.ts";
import { WasmBackend } from "./backends/wasm/backend.ts";
import { checkOptions, flag, type Rules, shown, whole } from "./check.ts";
import { variable } from "./environment.ts";
import { flow, inFlow } from "./scope.ts";

/** The names that `device` takes. */
export type DeviceName = "cpu" | "webgpu" | "auto" | "gpujs";

/** How a device computes. */
export interface DeviceOptions {
  /** Computes convolutions by their definition, without Winograd's algorithm. Default: false on the CPU, true on a GPU. */
  readonly exact?: boolean;
  /** The most bytes that all tensors on the CPU may take together. Default: 4 GiB. */
  readonly maxBytes?: number;
}

const rules: Rules<DeviceOptions> = { exact: flag, maxBytes: whole(1) };

let cpu: WasmBackend | null = null;
let current: Backend | null = null;
/** The devices that were asked for so far. Each is opened once; until then its packages are not loaded. */
const opened = new Map<DeviceName, Promise<Backend>>();
const openers: Partial<Record<DeviceName, () => Promise<Backend>>> = {
  webgpu: async () => await (await import("./backends/webgpu/backend.ts")).WebGpuBackend.open(),
  gpujs: async () => await (await import("./backends/gpujs/backend.ts")).GpuJsBackend.open(),
};

/** DEBUG=2 prints a line for each kernel that runs. */
const debug = Number(variable("DEBUG")) >= 2;
const traced = <B extends Backend>(backend: B): B => debug ? profiled(backend, console.error) : backend;

const startCpu = (maxBytes?: number): WasmBackend => cpu ??= traced(new WasmBackend(maxBytes));

/** The backend that new tensors are made on. */
export function currentBackend(): Backend {
  return flow().backend ?? (current ??= startCpu());
}

/** Runs `fn`, which may await, with new tensors on `backend`. */
export function withBackend<T>(backend: Backend, fn: () => T): T {
  return inFlow({ backend }, fn);
}

/**
 * Chooses where new tensors are made from now on, and returns that backend. A tensor stays where it was made, and all
 * tensors of an operation must be on the same device.
 * - `"cpu"` computes in WebAssembly on all cores; this call waits until its threads have started. In a web page it has one
 *   thread. In a worker of a page that is isolated from other origins (the headers COOP and COEP) it has all of them.
 *   The `description` says how many threads there are, and whether their vectors have 128 or 256 bits.
 * - `"webgpu"` computes on the GPU (docs/webgpu.md). Errors of the GPU are thrown when values are read.
 * - `"auto"` is the GPU if there is a real one, otherwise the CPU; the `description` of the result says which.
 * - `"gpujs"` is the reference: it computes every operation by its definition, and is readable and slow.
 *
 * `exact: true` computes convolutions by their definition. Winograd's algorithm, the default on the CPU, takes a third of
 * the time, and its rounding errors are about twice as large (docs/accuracy.md). On real GPUs it gains little, so there
 * the default is exact. The environment variable TESSERA_EXACT (1 or 0) changes the default.
 *
 * `maxBytes` limits the memory of all tensors on the CPU together; the default is 4 GiB. The addresses are reserved at
 * once, which some systems (iOS) refuse. There 512 MiB, `2 ** 29`, are enough for the small model.
 *
 * @throws if there is no device of this name, no GPU, or only a GPU that computes on the CPU (TESSERA_SOFTWARE_GPU=1
 * allows that one)
 * @example The GPU if there is one
 * ```ts
 * import { device } from "@tessera/vqgan/core";
 *
 * const { description } = await device("auto"); // the name of the GPU, or "CPU, 8 threads, vectors of 128 bits"
 * ```
 */
export async function device(name: DeviceName, options: DeviceOptions = {}): Promise<Backend> {
  checkOptions("device", options, rules);
  if (name === "cpu") {
    if (cpu && options.maxBytes !== undefined) {
      throw new Error(
        "device: the CPU's memory is already reserved; give maxBytes before the first tensor is made",
      );
    }
    const backend = startCpu(options.maxBytes);
    choose(backend, options.exact);
    await backend.ready();
    return backend;
  }
  if (name === "auto") {
    const { findAdapter, NoAdapterError } = await import("./backends/webgpu/device/adapter.ts");
    const adapter = await findAdapter().catch((error: unknown) => {
      if (error instanceof NoAdapterError) return null;
      throw error;
    });
    return await device(adapter && !adapter.report.isSoftware ? "webgpu" : "cpu", options);
  }
  const open = Object.hasOwn(openers, name) ? openers[name] : undefined;
  if (!open) {
    throw new Error(`device: there is no device ${shown(name)}, use "cpu", "webgpu", "auto" or "gpujs"`);
  }
  const opening = opened.get(name) ?? open().then(traced);
  opened.set(name, opening);
  try {
    return choose(await opening, options.exact);
  } catch (error) {
    opened.delete(name); // so that the next call tries again: a driver may have been installed meanwhile
    throw error;
  }
}

function choose(backend: Backend, exact: boolean | undefined): Backend {
  if (exact !== undefined && backend.exact !== undefined) backend.exact = exact;
  return current = backend;
}
