// Finds out whether an adapter has subgroup matrices that the kernels can use.
import { variable } from "../../../environment.ts";
import { fitsTiles, MATRIX_MEMORY } from "../kernels/subgroup_matrix.ts";
import type { MatrixShape } from "../kernels/tile.ts";
import type { FoundAdapter } from "./adapter.ts";

export const MATRIX_FEATURE = "chromium-experimental-subgroup-matrix";

/** Chrome's description of the matrices, which is missing in WebGPU's types. */
interface Configs {
  readonly subgroupMatrixConfigs?: Iterable<
    { componentType: string; resultComponentType: string; M: number; N: number; K: number }
  >;
}

/**
 * The shape of matrices with f16 factors and f32 sums, or null if there are none. On software GPUs they take a minute to
 * compile and gain nothing, so they are used there only with TESSERA_MATRIX=1. TESSERA_MATRIX=0 disables them everywhere.
 */
export function matrixShapeOf(
  { adapter: { features, info, limits }, report }: FoundAdapter,
): MatrixShape | null {
  const wanted = variable("TESSERA_MATRIX") ?? (report.isSoftware ? "0" : "1");
  const names: { has(name: string): boolean } = features, most = info.subgroupMaxSize ?? 0;
  if (!Number(wanted) || !names.has(MATRIX_FEATURE) || !names.has("shader-f16") || most === 0) {
    return null;
  }
  if (limits.maxComputeWorkgroupStorageSize < MATRIX_MEMORY) return null;
  const lanes = Math.max(32, most);
  return [...(info as Configs).subgroupMatrixConfigs ?? []]
    .filter(({ componentType, resultComponentType }) =>
      componentType === "f16" && resultComponentType === "f32"
    )
    .map(({ M, N, K }) => ({ m: M, n: N, k: K, lanes }))
    .find(fitsTiles) ?? null;
}
