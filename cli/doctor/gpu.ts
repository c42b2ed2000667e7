// What doctor reports about the GPU: its name, its limits, and whether its results are correct.
import process from "node:process";
import { formatBytes } from "../../data/index.ts";
import type { FoundAdapter } from "../../src/backends/webgpu/device/adapter.ts";
import type { WebGpuBackend } from "../../src/backends/webgpu/backend.ts";
import type { Gpu } from "../../src/backends/webgpu/device/gpu.ts";
import { MATRIX_FEATURE } from "../../src/backends/webgpu/device/matrices.ts";
import { device } from "../../src/index.ts";
import { messageOf } from "../messages.ts";
import type { Finding } from "./finding.ts";
import { checkEngine } from "./known_convolution.ts";

/**
 * The size of the largest tensor in a training step of f16-16384 on one picture of 256x256, in bytes. A GPU must be
 * able to bind it as a whole.
 */
const wanted = 128 * 2 ** 20;

export async function gpu(): Promise<Finding[]> {
  const name = "GPU", allowed = process.env.TESSERA_SOFTWARE_GPU;
  try {
    const { findAdapter } = await import("../../src/backends/webgpu/device/adapter.ts");
    const found = await findAdapter(true);
    process.env.TESSERA_SOFTWARE_GPU = "1"; // doctor checks software GPUs too
    const { gpu } = await device("webgpu") as WebGpuBackend;
    return [adapterOf(found), limitsOf(found.adapter), featuresOf(gpu), await checkEngine("GPU engine")];
  } catch (error) {
    const [found, advice] = messageOf(error).split(/: (.*)/s);
    return [{ name, found, advice: advice ?? "--device cpu works without it" }];
  } finally {
    if (allowed === undefined) delete process.env.TESSERA_SOFTWARE_GPU;
    else process.env.TESSERA_SOFTWARE_GPU = allowed;
    await device("cpu");
  }
}

function adapterOf({ report }: FoundAdapter): Finding {
  const found = `${report.name}, by ${report.source}`, name = "GPU";
  if (!report.isSoftware) return { name, found: `${found}: use it with --device webgpu` };
  const advice =
    "it computes on the CPU and is slower than --device cpu: install the driver of your GPU, if there is one";
  return { name, found, advice };
}

function limitsOf({ limits }: GPUAdapter): Finding {
  const bytes = Math.min(limits.maxStorageBufferBindingSize, limits.maxBufferSize), name = "GPU limits";
  const found =
    `tensors up to ${formatBytes(bytes)}, ${limits.maxComputeInvocationsPerWorkgroup} threads and ` +
    `${formatBytes(limits.maxComputeWorkgroupStorageSize)} per workgroup`;
  if (bytes >= wanted) return { name, found };
  return {
    name,
    found,
    advice: `training at 256x256 needs tensors of ${formatBytes(wanted)}: use --device cpu`,
  };
}

function featuresOf({ adapter, matrix }: Gpu): Finding {
  const features: { has(name: string): boolean } = adapter.features;
  const shape = matrix ? `${matrix.m}x${matrix.n}x${matrix.k}, tested and correct` : "not used";
  const names = {
    "shader-f16": "half precision",
    "timestamp-query": "timestamps, for choosing tile sizes",
    [MATRIX_FEATURE]: `subgroup matrices (${shape})`,
  };
  const list = Object.entries(names).filter(([key]) => features.has(key)).map(([, text]) => text);
  return { name: "GPU features", found: list.length > 0 ? list.join(", ") : "none that Tessera can use" };
}
