// Every operation, one file for each family. strips.ts is not among them: only nn/ uses it, for large pictures.
export * from "./adam.ts";
export { attention } from "./attention.ts";
export * from "./codebook.ts";
export * from "./conv.ts";
export * from "./elementwise.ts";
export { matmul, type MatmulOptions } from "./linalg.ts";
export * from "./lpips.ts";
export * from "./norm.ts";
export * from "./pool.ts";
export * from "./reduce.ts";
export * from "./shape.ts";
