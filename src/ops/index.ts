// Every operation, one file a family. The strips of large pictures (strips.ts) are the blocks' own business.
export * from "./adam.ts";
export * from "./codebook.ts";
export * from "./conv.ts";
export * from "./elementwise.ts";
export * from "./linalg.ts";
export * from "./lpips.ts";
export * from "./norm.ts";
export * from "./pool.ts";
export * from "./reduce.ts";
export * from "./shape.ts";
