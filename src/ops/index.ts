// Every operation, one file a family.
export * from "./conv.ts";
export * from "./elementwise.ts";
export * from "./linalg.ts";
export * from "./norm.ts";
export * from "./reduce.ts";
export * from "./shape.ts";
export * from "./strips.ts";
export * from "./vision.ts";
