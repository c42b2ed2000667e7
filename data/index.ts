// Everything the rest of Tessera uses of data/, apart from the checkpoint formats.
export * from "./cartoons.ts";
export * from "./dataset.ts";
export * from "./images.ts";
export * from "./list.ts";
export * from "./mosaic.ts";
export * from "./plot.ts";
export * from "./progress.ts";
export * from "./samples.ts";
export * from "./sampler.ts";
export * from "./svg.ts";
export * from "./tokens/index.ts";
