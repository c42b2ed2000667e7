// The base class of every part of a network. Parameters are plain properties. The path of a property, such as
// `encoder.down.0.block.1.conv2.weight`, is its key in the state_dict of taming-transformers, the original implementation,
// so loading a checkpoint needs no table of names.
import { check, flag, shown } from "../src/check.ts";
import { scope, type Shape, Tensor } from "../src/index.ts";
import { checkTensor } from "../src/operands.ts";
import { finish, type Parts, scopeParts } from "../src/parts.ts";

/**
 * A tree of parameters, buffers and sub-modules. They are found by walking over an object's own properties in the order of
 * their creation. Arrays and plain objects add their index or key to the path; private (`#`) fields are not state.
 */
export abstract class Module {
  /** Whether batch norm uses the statistics of the batch. Set it with `train()` and `eval()`. */
  training = true;

  /** The names of own tensors that are state but are not learnt, such as running statistics and constants. */
  protected bufferNames(): readonly string[] {
    return [];
  }

  /** This module and all modules below it, by path. The path of this one is `prefix`. */
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
   * Copies every tensor whose key and shape match into this module, and reports the others. They are not an error; the caller
   * decides which omissions matter (see `formatLoadReport`).
   * @throws TypeError if the source is not a Map of tensors
   */
  loadStateDict(source: ReadonlyMap<string, Tensor>): LoadReport {
    if (!(source instanceof Map)) {
      throw new TypeError(
        `loadStateDict: got ${shown(source)}, expected a Map of tensors, as stateDict() returns it`,
      );
    }
    for (const t of source.values()) checkTensor("loadStateDict", t);
    const own = this.stateDict();
    const report = matchState(own, new Map([...source].map(([key, t]) => [key, t.shape])));
    for (const key of report.matched) own.get(key)!.assign(source.get(key)!);
    return report;
  }

  /** Makes batch norm use the statistics of each batch and update their averages (true), or use the averages (false). */
  train(mode: boolean = true): this {
    check("train", "the mode", mode, flag);
    for (const module of this.namedModules().values()) module.training = mode;
    return this;
  }

  /** `train(false)`, for measuring and for inference. */
  eval(): this {
    return this.train(false);
  }

  /** Freezes the parameters (false) or lets them learn (true). `backward` computes no gradient for frozen ones. */
  setRequiresGrad(on: boolean): this {
    check("setRequiresGrad", "the argument", on, flag);
    for (const p of this.namedParameters().values()) p.requiresGrad = on;
    return this;
  }

  /** Frees the gradients of all parameters. */
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
  /** Runs the layer in a scope of its own, so that intermediate tensors are freed unless the tape holds them. */
  call(x: Tensor, residual?: Tensor): Tensor {
    const output = scope(() => finish(this.forward(x, residual)));
    for (const observer of observers) observer.get(this)?.(output);
    return output;
  }

  /**
   * `call` in parts, between which other events may run.
   * @internal
   */
  *parts(x: Tensor, residual?: Tensor): Parts<Tensor> {
    const output = yield* scopeParts(() => this.forward(x, residual));
    yield;
    for (const observer of observers) observer.get(this)?.(output);
    return output;
  }

  /** The computation of the layer; `call` runs it. What takes long on large pictures is a generator that yields. */
  protected abstract forward(x: Tensor, residual?: Tensor): Tensor | Parts<Tensor>;

  /** The layer whose output is this one's output: itself, unless the network around it runs its parts one by one. */
  get outputLayer(): Layer {
    return this;
  }
}

/** Functions to call with the outputs of certain layers. */
export type Observer = ReadonlyMap<Layer, (output: Tensor) => void>;

/** The observers that are active now; there are some only inside `captureOutputs` (capture.ts). */
const observers: Observer[] = [];

/** Runs `fn`, which must not be asynchronous, with an active observer. */
export function withObserver<T>(observer: Observer, fn: () => T): T {
  observers.push(observer);
  try {
    return fn();
  } finally {
    observers.pop();
  }
}

/** Whether one of these layers is observed. Then it must run by itself, not as part of a fused operation. */
export function isObserved(...layers: readonly Layer[]): boolean {
  return observers.some((observer) => layers.some((layer) => observer.has(layer)));
}

/** Runs layers one after another, and frees each intermediate tensor as soon as the next one exists. */
export function* chain(x: Tensor, layers: Iterable<Layer>): Parts<Tensor> {
  let at = x;
  for (const layer of layers) {
    const next = yield* layer.parts(at);
    if (at !== x && next !== at) at.dispose();
    at = next;
  }
  return at;
}

/**
 * Runs a computation with a module and all modules below it in evaluation mode. Afterwards each has the mode that it had: a
 * frozen one may be in evaluation mode already.
 */
export function* inEvaluation<T>(module: Module, parts: Parts<T>): Parts<T> {
  const modes = [...module.namedModules().values()].map((each) => [each, each.training] as const);
  module.eval();
  try {
    return yield* parts;
  } finally {
    for (const [each, training] of modes) each.training = training;
  }
}

/** Yields the tensors and modules among the properties of `owner`, each with its path and its name within its module. */
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

/** How the tensors of a source fit those of a module. */
export interface LoadReport {
  /** Keys that both sides have in the same shape. */
  readonly matched: readonly string[];
  /** Keys of the module that the source lacks. */
  readonly missing: readonly string[];
  /** Keys of the source that the module lacks. */
  readonly unexpected: readonly string[];
  /** Keys that both sides have in different shapes. */
  readonly mismatched: readonly { readonly key: string; readonly expected: Shape; readonly found: Shape }[];
}

/** Compares keys and shapes, before any value is read. */
export function matchState(
  own: ReadonlyMap<string, { readonly shape: Shape }>,
  source: ReadonlyMap<string, Shape>,
): LoadReport {
  const matched: string[] = [], missing: string[] = [];
  const mismatched: { key: string; expected: Shape; found: Shape }[] = [];
  for (const [key, { shape }] of own) {
    const found = source.get(key);
    if (!found) missing.push(key);
    else if (`${found}` === `${shape}`) matched.push(key);
    else mismatched.push({ key, expected: shape, found });
  }
  return { matched, missing, unexpected: [...source.keys()].filter((key) => !own.has(key)), mismatched };
}

/** A table of what did not fit, with at most `limit` lines of each kind; "" if everything fits. */
export function formatLoadReport(report: LoadReport, limit = 10): string {
  const lines = [
    ...section("missing in the file", report.missing, limit),
    ...section("not used by the model", report.unexpected, limit),
    ...section(
      "of another shape",
      report.mismatched.map(({ key, expected, found }) => `${key}: model [${expected}], file [${found}]`),
      limit,
    ),
  ];
  return lines.join("\n");
}

function section(title: string, items: readonly string[], limit: number): string[] {
  if (items.length === 0) return [];
  const rest = items.length > limit ? [`  ... and ${items.length - limit} more`] : [];
  return [`${items.length} ${title}:`, ...items.slice(0, limit).map((item) => `  ${item}`), ...rest];
}
