// What others measured, to be shown beside this machine: the figures of README.md, bench/README.md and docs/webgpu.md.
import type { JobName } from "./jobs.ts";

export interface Reference {
  readonly name: string;
  /** In seconds; a job that nobody timed is missing. */
  readonly seconds: Readonly<Partial<Record<JobName, number>>>;
}

/** f16-16384 on one picture of 256x256, with its discriminator and LPIPS in training. */
export const references: readonly Reference[] = [
  { name: "2 Zen 4 cores, Deno", seconds: { encode: 0.33, decode: 0.53, "training step": 3.77 } },
  { name: "with 128 bits", seconds: { encode: 0.64, decode: 0.96, "training step": 6.2 } },
  { name: "Bun", seconds: { encode: 0.97, decode: 1.38, "training step": 8.57 } },
  { name: "PyTorch", seconds: { encode: 0.92, decode: 1.35, "training step": 10.03 } },
  { name: "H100, Deno", seconds: { "training step": 0.088 } },
  { name: "with Dawn", seconds: { encode: 0.008, decode: 0.018, "training step": 0.068 } },
];
