// Assembles the kernels of the CPU backend, once per process, into one module with a table of all functions.
import { ModuleBuilder } from "../assembler/assembler.ts";
import { v } from "../assembler/expressions.ts";
import { addScheduler } from "../threads.ts";
import { addAdam } from "./adam.ts";
import { addCodebook } from "./codebook.ts";
import { addConv, addCopyInput, addSumQuads } from "./conv.ts";
import { addCopy } from "./copy.ts";
import { addDepthwise } from "./depthwise.ts";
import { addElementwise } from "./elementwise.ts";
import { addLpips } from "./lpips.ts";
import { addMicroKernels } from "./micro_kernel.ts";
import { addNorm } from "./norm.ts";
import { addPack } from "./pack.ts";
import { addPool } from "./pool.ts";
import { addReductions } from "./reduce.ts";
import { addWeightGrad } from "./weight_gradient.ts";
import { addWinograd } from "./winograd.ts";
import { addWinogradGrad } from "./winograd_weight_gradient.ts";
import { addWinogradSmall } from "./winograd_small.ts";

/** 4 GiB, which is as much as 32-bit addresses can reach. */
export const MAX_PAGES = 65536;

/** Whether the engine has the fused multiply-add of relaxed SIMD. An unknown opcode would make the whole module fail. */
function hasRelaxedSimd(): boolean {
  const m = new ModuleBuilder(true);
  m.fn("probe", [], [], (f) => {
    const x = f.let(v.zero());
    f.set(x, f.fma(x, x, x));
  });
  return WebAssembly.validate(m.bytes(MAX_PAGES));
}

/** The module's bytes and the table index of every kernel. */
export function emitKernels(): {
  bytes: Uint8Array<ArrayBuffer>;
  index: Map<string, number>;
  relaxed: boolean;
} {
  const relaxed = hasRelaxedSimd();
  const m = new ModuleBuilder(relaxed);
  for (
    const add of [
      addScheduler,
      addElementwise,
      addCopy,
      addAdam,
      addReductions,
      addMicroKernels,
      addCopyInput,
      addPack,
      addConv,
      addSumQuads,
      addDepthwise,
      addWeightGrad,
      addWinograd,
      addWinogradGrad,
      addWinogradSmall,
      addNorm,
      addCodebook,
      addPool,
      addLpips,
    ]
  ) add(m);
  return { bytes: m.bytes(MAX_PAGES), index: new Map(m.names.map((name, i) => [name, i])), relaxed };
}
