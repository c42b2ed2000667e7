// Opens an adapter's device, with its highest limits and the features that the kernels can use.
import { MATRIX_MEMORY } from "../kernels/subgroup_matrix.ts";
import type { FoundAdapter } from "./adapter.ts";
import { Gpu } from "./gpu.ts";
import { MATRIX_FEATURE, matrixShapeOf } from "./matrices.ts";
import { cacheFile, Tuner } from "./tuner.ts";

/**
 * Opens an adapter that was just found; an adapter can be opened only once.
 * @param withSubgroups whether threads may exchange numbers directly, and multiply by subgroup matrices
 */
export async function openGpu(found: FoundAdapter, withSubgroups: boolean): Promise<Gpu> {
  const { adapter, report } = found, { limits, info } = adapter;
  const matrix = withSubgroups ? matrixShapeOf(found) : null;
  // WebGPU's types lack the names of experimental features
  const offered: { has(name: string): boolean } = adapter.features;
  const wanted = [
    "shader-f16",
    "timestamp-query",
    ...withSubgroups ? ["subgroups"] : [],
    ...matrix ? [MATRIX_FEATURE] : [],
  ];
  const device = await adapter.requestDevice({
    label: "tessera",
    requiredFeatures: wanted.filter((name) => offered.has(name)) as GPUFeatureName[],
    requiredLimits: {
      maxBufferSize: limits.maxBufferSize,
      maxStorageBufferBindingSize: limits.maxStorageBufferBindingSize,
      ...(matrix ? { maxComputeWorkgroupStorageSize: MATRIX_MEMORY } : {}),
    },
  });
  const isTuned = device.features.has("timestamp-query") && !report.isSoftware;
  const name = `${report.source}, ${info.vendor} ${info.architecture} ${report.name}`;
  const tuner = await Tuner.open(name, isTuned ? cacheFile() : null, isTuned);
  return new Gpu({ adapter, device, report, tuner, matrix });
}
