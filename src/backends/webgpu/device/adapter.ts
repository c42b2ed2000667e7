// Finds the GPU: with `navigator.gpu` in browsers and Deno, and with the package `webgpu` (Dawn) in Bun or if TESSERA_DAWN=1
// is set. An adapter that computes on the CPU is used only if this is allowed. The null adapter, which computes nothing, is
// never used.
import { variable } from "../../../environment.ts";
import { optionalPackage } from "../../../packages.ts";

/** A description of an adapter. */
export interface AdapterReport {
  /** Where it was found: "navigator.gpu" or Dawn. */
  readonly source: string;
  readonly name: string;
  /** Whether its driver computes on the CPU. That is good for tests, but slower than the CPU backend. */
  readonly isSoftware: boolean;
}

export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly report: AdapterReport;
}

/** There is no usable adapter. The message says what was found and what to do. */
export class NoAdapterError extends Error {
  override readonly name = "NoAdapterError";
}

/**
 * Switches for what Dawn disables by default: f16 on NVIDIA's Linux driver, which is used only if f16 is asked for;
 * experimental features, of which matrices.ts uses one; and timestamps in steps below 0.1 ms.
 */
const features = [
  "enable-dawn-features=vulkan_enable_f16_on_nvidia,allow_unsafe_apis",
  "disable-dawn-features=timestamp_quantization",
];

/** The part of the package webgpu that is used here. */
interface Dawn {
  create(features: readonly string[]): GPU;
}

/** Dawn's object must stay reachable while anything made by it is in use; otherwise the next garbage collection crashes. */
const pinned = globalThis as { tesseraDawn?: GPU };

async function entry(): Promise<{ gpu: GPU; source: string }> {
  const isDawnWanted = Boolean(Number(variable("TESSERA_DAWN") ?? 0));
  const own = (globalThis.navigator as Navigator | undefined)?.gpu;
  if (own && !isDawnWanted) {
    // without it the Vulkan loader prints a needless warning
    if (globalThis.process?.env) process.env.XDG_RUNTIME_DIR ??= "/tmp";
    return { gpu: own, source: "navigator.gpu" };
  }
  try {
    const use = "the device webgpu, in a runtime without navigator.gpu,";
    const { create } = await optionalPackage<Dawn>("webgpu", use);
    return { gpu: pinned.tesseraDawn ??= create(features), source: "Dawn (webgpu package)" };
  } catch (error) {
    throw new NoAdapterError(error instanceof Error ? error.message : String(error));
  }
}

const softwareNames = /llvmpipe|lavapipe|softpipe|swiftshader|basic render|\bwarp\b/i;

/**
 * Finds the adapter with the highest performance.
 * @param allowSoftware whether it may compute on the CPU. Default: whether TESSERA_SOFTWARE_GPU is 1
 * @throws NoAdapterError if there is none, it computes nothing, or it computes on the CPU and that is not allowed
 */
export async function findAdapter(
  allowSoftware: boolean = Boolean(Number(variable("TESSERA_SOFTWARE_GPU") ?? 0)),
): Promise<FoundAdapter> {
  const { gpu, source } = await entry();
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter) {
    throw new NoAdapterError(
      `${source} finds no GPU: install the driver of your GPU (on Linux its Vulkan driver and libvulkan1), ` +
        'or use the device "cpu"',
    );
  }
  const { vendor, architecture, device, description } = adapter.info;
  const text = [vendor, architecture, device, description].join(" ");
  if (/null.?backend/i.test(text)) {
    throw new NoAdapterError(
      `${source} offers only its null adapter, which computes nothing: install a driver`,
    );
  }
  const isSoftware = adapter.info.isFallbackAdapter === true || softwareNames.test(text);
  // Dawn names the GPU in `device` and the driver in `description`; wgpu has a number in `device`
  const names = [/[a-z]/i.test(device) ? device : "", description].filter((name) => name !== "");
  const report = { source, name: names.join(", ") || text.trim() || "unnamed GPU", isSoftware };
  if (isSoftware && !allowSoftware) {
    throw new NoAdapterError(
      `the only adapter is ${report.name}, which computes on the CPU and slower than the device "cpu": install the ` +
        "driver of your GPU, or allow it with TESSERA_SOFTWARE_GPU=1",
    );
  }
  return { adapter, report };
}
