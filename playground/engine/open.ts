// Loads a model from the bytes of a checkpoint of any format.
import { device, loadVQGAN } from "../../core.ts";
import type { Call, Engine } from "./engine.ts";

/** What the page knows of a model. */
export interface ModelFacts {
  /** The device that computes, in words. */
  readonly device: string;
  /** The side of the pictures that the model was made for, in pixels. */
  readonly size: number;
  /** Pixels per token along each side. */
  readonly factor: number;
  /** How many tokens there are. */
  readonly vocabulary: number;
  /** Numbers in a code. */
  readonly embedDim: number;
  /** Numbers in encoder, decoder and codebook together. */
  readonly parameters: number;
  /** The fields of the config that the file does not state, so that those of the published model were assumed. */
  readonly assumed: readonly string[];
  /** What model of another library it is; null for an ordinary checkpoint. */
  readonly note: string | null;
}

/**
 * Replaces the engine's model. If the new one cannot be loaded, the old one stays.
 * @param request the checkpoint
 * @returns facts; reports the share of the file that was read
 */
export async function open(
  engine: Engine,
  request: { readonly file: Blob },
  call: Call<number>,
): Promise<ModelFacts> {
  const { description } = await device("auto").catch(() => device("cpu")); // a GPU that cannot be used is none
  const { model, assumed, note } = await loadVQGAN(request.file, {
    onProgress: (bytes, total) => call.report(bytes / total),
  });
  engine.replace(model, request.file);
  const { factor, vocabulary, config } = model;
  let parameters = 0;
  for (const { size } of model.generatorParameters().values()) parameters += size;
  return {
    device: description,
    size: Math.max(1, Math.round(config.ddconfig.resolution / factor)) * factor,
    factor,
    vocabulary,
    embedDim: config.embedDim,
    parameters,
    assumed,
    note,
  };
}
