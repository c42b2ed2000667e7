// Captures intermediate values of a model by their path: feature maps and attention weights.
import { isList, shown } from "../src/check.ts";
import { keep, scope, type Tensor } from "../src/index.ts";
import { Layer, type Module, withObserver } from "./module.ts";

/** What `captureOutputs` returns. */
export interface Captured<T> {
  /** What `fn` returned. */
  readonly result: T;
  /** The output of each layer, by path. */
  readonly outputs: Map<string, Tensor>;
}

/**
 * Runs `fn` and keeps the outputs of certain layers of `model`. If gradients are recorded, the outputs keep their history,
 * so that a loss can be computed from them. If a layer runs several times, its last output is kept.
 *
 * @param paths the paths of layers in the model, as in its state_dict. The path of an attention block followed by `.weights`
 * gives its attention weights [B, T, T], over all T pixels in raster order
 * @param fn calls the model. It must not be asynchronous, because the outputs of other jobs would be captured too
 * @returns tensors that pass to the surrounding scope
 * @throws if there is no layer at a path (the message lists the nearest ones), or if a layer does not run
 * @example The attention weights of the encoder
 * ```ts
 * import { captureOutputs, VQGAN, zeros } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt"), images = zeros([1, 128, 128, 3]);
 * const { result, outputs } = captureOutputs(
 *   model,
 *   ["encoder.down.2.block.0", "encoder.mid.attn_1.weights"],
 *   () => model.encode(images),
 * );
 * console.log(outputs.get("encoder.mid.attn_1.weights")?.shape); // [1, 256, 256]
 * ```
 */
export function captureOutputs<T>(model: Module, paths: readonly string[], fn: () => T): Captured<T> {
  if (!isList(paths)) {
    throw new TypeError(
      `captureOutputs: the paths are ${shown(paths)}, expected a list such as ["encoder.mid"]`,
    );
  }
  const modules = model.namedModules();
  const kept = new Map<string, Tensor>();
  const observer = new Map<Layer, (output: Tensor) => void>();
  for (const [layer, names] of Map.groupBy(paths, (path) => layerAt(modules, path))) {
    observer.set(layer, (output) => {
      for (const path of names) {
        kept.get(path)?.dispose();
        kept.set(path, keep(alias(output)));
      }
    });
  }
  return scope(() => {
    try {
      const result = withObserver(observer, fn);
      if (result instanceof Promise) {
        throw new Error(
          "captureOutputs: fn is asynchronous; let it only call the model, and await values afterwards",
        );
      }
      const outputs = new Map(paths.map((path) => [path, alias(captured(kept, path))]));
      return { result, outputs };
    } finally {
      for (const output of kept.values()) output.dispose();
    }
  });
}

/** Another tensor with the same memory and history, which stays alive when the network frees the first one. */
function alias(t: Tensor): Tensor {
  return t.reshape(...t.shape);
}

function captured(kept: ReadonlyMap<string, Tensor>, path: string): Tensor {
  const output = kept.get(path);
  if (output) return output;
  throw new Error(`captureOutputs: "${path}" did not run; fn must call a part of the model that contains it`);
}

function layerAt(modules: ReadonlyMap<string, Module>, path: string): Layer {
  const module = modules.get(path);
  if (module instanceof Layer) return module.outputLayer;
  const parentOf = (path: string): string => {
    const parent = path.slice(0, Math.max(0, path.lastIndexOf(".")));
    return modules.has(parent) ? parent : parentOf(parent);
  };
  const parent = module ? path : parentOf(path);
  const near = [...modules.keys()].filter((key) => key !== "" && parentOf(key) === parent);
  throw new Error(
    `captureOutputs: there is no layer "${path}"; ${parent === "" ? "the model" : `"${parent}"`} has ` +
      (near.length > 0 ? near.join(", ") : "no layers below it"),
  );
}
