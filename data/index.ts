// Everything the rest of Tessera uses of data/, apart from the checkpoint formats.
export * from "./figures/cartoons.ts";
export * from "./pictures/dataset.ts";
export * from "./pictures/images.ts";
export * from "./pictures/list.ts";
export * from "./figures/sheets.ts";
export * from "./figures/plot.ts";
export * from "./pictures/samples.ts";
export * from "./pictures/sampler.ts";
export * from "./figures/svg.ts";
export * from "./tokens/index.ts";
