// The base of every network part. State lives in plain properties; a property's path is its taming state_dict key
// (`encoder.down.0.block.1.conv2.weight`), so a checkpoint maps one to one without a renaming table.
import { scope, Tensor } from "../src/index.ts";
import { type LoadReport, matchState } from "./state.ts";

/**
 * A tree of parameters, buffers and sub-modules, found by walking own properties in the order of their creation.
 * Arrays and plain objects contribute their index or key to the path; private (`#`) fields are not state.
 */
export abstract class Module {
  /** Batch norm uses batch statistics while true. Set it with `train()` and `eval()`. */
  training = true;

  /** Names of own tensors that are state but are not learnt: running statistics, constants. */
  protected bufferNames(): readonly string[] {
    return [];
  }

  /** This module and all below it, by path; this one's path is `prefix`. */
  namedModules(prefix = ""): Map<string, Module> {
    const found = new Map<string, Module>([[prefix, this]]);
    for (const [path, value] of fields(this, prefix)) {
      if (value instanceof Module) {
        for (const [at, module] of value.namedModules(path)) found.set(at, module);
      }
    }
    return found;
  }

  /** Learnable tensors by path, in taming's order. */
  namedParameters(prefix = ""): Map<string, Tensor> {
    return this.#tensors(prefix, "parameters");
  }

  /** Tensors that are state without being learnt, by path. */
  namedBuffers(prefix = ""): Map<string, Tensor> {
    return this.#tensors(prefix, "buffers");
  }

  /** Parameters and buffers by path, in taming's order. These are the live tensors, not copies. */
  stateDict(prefix = ""): Map<string, Tensor> {
    return this.#tensors(prefix, "both");
  }

  #tensors(prefix: string, kind: "parameters" | "buffers" | "both"): Map<string, Tensor> {
    const found = new Map<string, Tensor>();
    const buffers = this.bufferNames();
    for (const [path, value, name] of fields(this, prefix)) {
      if (value instanceof Module) {
        for (const [at, t] of value.#tensors(path, kind)) found.set(at, t);
      } else if (kind === "both" || (kind === "buffers") === buffers.includes(name)) {
        found.set(path, value);
      }
    }
    return found;
  }

  /**
   * Copies every tensor whose key and shape match into this module, and reports the rest. Throws nothing:
   * whoever calls decides which omissions matter (see `formatReport`).
   */
  loadStateDict(source: ReadonlyMap<string, Tensor>): LoadReport {
    const own = this.stateDict();
    const report = matchState(own, new Map([...source].map(([key, t]) => [key, t.shape])));
    for (const key of report.matched) own.get(key)!.assign(source.get(key)!);
    return report;
  }

  train(mode = true): this {
    for (const module of this.namedModules().values()) module.training = mode;
    return this;
  }

  eval(): this {
    return this.train(false);
  }

  /** Whether backward reaches the parameters from now on. */
  setRequiresGrad(on: boolean): this {
    for (const p of this.namedParameters().values()) p.requiresGrad = on;
    return this;
  }

  zeroGrad(): void {
    for (const p of this.namedParameters().values()) {
      p.grad?.dispose();
      p.grad = null;
    }
  }

  /** Frees parameters, buffers and gradients. The module cannot be used afterwards. */
  dispose(): void {
    this.zeroGrad();
    for (const t of this.stateDict().values()) t.dispose();
  }
}

/** A module from one tensor to one tensor. */
export abstract class Layer extends Module {
  /** Runs the layer in a scope of its own: whatever it makes on the way is freed unless the tape holds it. */
  call(x: Tensor, residual?: Tensor): Tensor {
    return scope(() => this.forward(x, residual));
  }

  protected abstract forward(x: Tensor, residual?: Tensor): Tensor;
}

/** Runs layers one after another, letting go of each intermediate tensor once the next one exists. */
export function chain(x: Tensor, layers: Iterable<Layer>): Tensor {
  let at = x;
  for (const layer of layers) {
    const next = layer.call(at);
    if (at !== x && next !== at) at.dispose();
    at = next;
  }
  return at;
}

/** Tensors and modules among the properties of `owner`: path, value and the name within their module. */
function* fields(owner: object, prefix: string, within = ""): Generator<[string, Tensor | Module, string]> {
  for (const [key, value] of Object.entries(owner) as [string, unknown][]) {
    const path = prefix === "" ? key : `${prefix}.${key}`;
    const name = within === "" ? key : `${within}.${key}`;
    if (value instanceof Tensor || value instanceof Module) yield [path, value, name];
    else if (Array.isArray(value) || isPlainObject(value)) yield* fields(value, path, name);
  }
}

function isPlainObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}
