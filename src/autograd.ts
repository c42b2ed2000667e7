// Reverse-mode differentiation over the tape (tape.ts). `backward` visits the nodes from the newest to the oldest, passes each
// one's gradient on to its inputs, and frees the node.
import { filled, materialize, Tensor } from "./array.ts";
import { callback, check, checkOptions, flag, isList, rule, type Rules, shown } from "./check.ts";
import { checkTensor } from "./operands.ts";
import { finish, type Parts, scopeParts } from "./parts.ts";
import { isGradEnabled, scope, withGrad } from "./scope.ts";
import { Node, nodeOf, sinkOf, tracked, type Vjp } from "./tape.ts";

/** Every node that the outputs depend on, newest first. */
function reachable(outputs: readonly Tensor[]): Node[] {
  const seen = new Set<Node>();
  const todo = outputs.flatMap((t) => nodeOf(t) ?? []);
  while (todo.length > 0) {
    const node = todo.pop()!;
    if (seen.has(node)) continue;
    seen.add(node);
    for (const input of node.inputs) if (input instanceof Node) todo.push(input);
  }
  return [...seen].sort((a, b) => b.id - a.id);
}

/** The gradients found so far, by the node or the leaf that they belong to. */
type Sink = Map<Node | Tensor, Tensor>;

/** Whether `backward` is running, and not `grad`: then parameters inside a checkpoint get their gradients as well. */
let accumulating = false;

/**
 * What `backward` and `grad` share: walks the tape and returns the gradients of `targets`, or of every leaf if `targets` is
 * null. Nodes that do not lead to a target are skipped, which keeps `grad` cheap. Each node is a part of the computation.
 */
function* walk(
  outputs: readonly Tensor[],
  gradOutputs: readonly (Tensor | null)[],
  targets: Set<Node | Tensor> | null,
  retainGraph: boolean,
): Parts<Sink> {
  const nodes = reachable(outputs).map((node) => node.retain()); // freeing one must not free the next too early
  const relevant = new Set<Node | Tensor>(targets ?? []);
  if (targets) {
    for (const node of [...nodes].reverse()) {
      if (node.inputs.some((input) => input !== null && relevant.has(input))) relevant.add(node);
    }
  }
  const wanted = (input: Node | Tensor | null): input is Node | Tensor =>
    input !== null && (targets === null || relevant.has(input));
  const sink: Sink = new Map();
  let isWhole = false;
  try {
    for (const [i, t] of outputs.entries()) {
      const at = sinkOf(t);
      if (wanted(at) && (targets || tracked(t))) accumulate(sink, at, gradOutputs[i] ?? seed(t));
    }
    for (const node of nodes) {
      const g = sink.get(node);
      if (!g || (targets && !relevant.has(node))) continue;
      const needs = node.inputs.map(wanted);
      if (needs.some(Boolean) || node.name === "checkpoint") { // a checkpoint may hide parameters
        scope(() => {
          const gradients = gradientsAt(node, g, needs);
          node.inputs.forEach((input, i) => {
            const gradient = gradients[i];
            if (wanted(input) && gradient) accumulate(sink, input, gradient);
          });
        });
      }
      if (!targets?.has(node)) {
        sink.delete(node);
        g.dispose();
      }
      if (!retainGraph) node.free();
      yield;
    }
    isWhole = true;
    return sink;
  } finally {
    if (!isWhole) { for (const g of sink.values()) g.dispose(); }
    for (const node of nodes) node.release();
  }
}

/** The gradients of a node's inputs. @throws if its function returns something else */
function gradientsAt(node: Node, g: Tensor, needs: boolean[]): (Tensor | null)[] {
  const gradients = node.vjp(g, node.saved(), needs);
  const fits = (g: unknown) => g === null || g instanceof Tensor;
  if (Array.isArray(gradients) && gradients.length === node.inputs.length && gradients.every(fits)) {
    return gradients;
  }
  throw new TypeError(
    `backward: the vjp of ${node.name} returned ${
      shown(gradients)
    }, expected a list with one gradient, or null, for ` +
      `each of its ${node.inputs.length} inputs`,
  );
}

/** The gradient of a one-element output with respect to itself, which is 1. */
function seed(t: Tensor): Tensor {
  if (t.size !== 1) {
    throw new Error(
      `backward: the output has shape [${t.shape}]; give its gradient, or reduce it to one number`,
    );
  }
  return filled(t, t.shape, 1);
}

/** Adds a gradient to the sink, which owns its tensors. The gradient is cast to the dtype of the value. */
function accumulate(sink: Sink, at: Node | Tensor, gradient: Tensor): void {
  if (`${gradient.shape}` !== `${at.shape}`) {
    throw new Error(
      `backward: a gradient of shape [${gradient.shape}] arrived at a value of shape [${at.shape}]`,
    );
  }
  const g = gradient.dtype === at.dtype ? gradient : materialize(gradient, at.dtype);
  const before = sink.get(at);
  if (!before) {
    sink.set(at, owned(g.detach())); // a view, because a vjp may return the same g for several inputs
    return;
  }
  sink.set(at, owned(sum(before, g)));
}

/** a + b, written over `a` if nothing shares its memory; otherwise `a` is freed. */
function sum(a: Tensor, b: Tensor): Tensor {
  const inPlace = a.isPlain && !a.storage.shared;
  const out = inPlace ? a : a.like(a.shape);
  const [x, y] = [a, b].map((t) => (t.isPlain ? t : materialize(t)));
  const line = { outer: 0, inner: 1 } as const;
  a.backend.run("binary", {
    op: "add",
    a: x.slot,
    aWalk: line,
    b: y.slot,
    bWalk: line,
    out: out.slot,
    outer: 1,
    inner: a.size,
    p0: 0,
  });
  if (x !== a) x.dispose();
  if (y !== b) y.dispose();
  if (!inPlace) a.dispose();
  return out;
}

/** Gives a tensor without an owner to the current scope. */
function handOver(t: Tensor): Tensor {
  const mine = t.detach();
  t.dispose();
  return mine;
}

/** Takes a tensor out of the current scope. */
function owned(t: Tensor): Tensor {
  t.owner = null;
  return t;
}

/**
 * Accumulates d(outputs)/d(leaf) into `.grad` of every leaf that requires it, and frees the tape.
 * `gradOutputs[i]` is the gradient of outputs[i]; a one-element output defaults to 1.
 *
 * @throws if no output depends on such a leaf, the graph was walked before, a gradient has another shape than its output,
 * or a value that is needed was overwritten in place
 * @example The derivative of a square
 * ```ts
 * import { backward, tensor } from "@tessera/vqgan/core";
 *
 * const w = tensor([3], [1], { requiresGrad: true });
 * backward(w.square().sum());
 * console.log(await w.grad!.item()); // 6
 * ```
 */
export function backward(
  outputs: Tensor | readonly Tensor[],
  gradOutputs: readonly (Tensor | null)[] = [],
): void {
  finish(backwardParts(outputs, gradOutputs));
}

/** `backward` in parts. */
export function* backwardParts(
  outputs: Tensor | readonly Tensor[],
  gradOutputs: readonly (Tensor | null)[] = [],
): Parts<void> {
  const list = outputs instanceof Tensor ? [outputs] : outputs;
  checkLists("backward", list, gradOutputs);
  if (!list.some(tracked)) throw new Error("backward: no output depends on a tensor with requiresGrad");
  const sink = yield* scopeParts(() => accumulatingIn(walk(list, gradOutputs, null, false)), false);
  for (const [at, g] of sink) settle(at, g);
}

/** Sets `accumulating` while each part runs. What runs in between may be something else. */
function* accumulatingIn<T>(parts: Parts<T>): Parts<T> {
  try {
    while (true) {
      const before = accumulating;
      accumulating = true;
      try {
        const step = parts.next();
        if (step.done) return step.value;
      } finally {
        accumulating = before; // also after an error, such as a gradient of the wrong shape
      }
      yield;
    }
  } finally {
    parts.return(undefined as T);
  }
}

/** Moves a gradient from the sink to its leaf's `.grad`. */
function settle(at: Node | Tensor, g: Tensor): void {
  if (!(at instanceof Tensor)) return g.dispose();
  if (!at.grad) at.grad = g;
  else {
    at.grad = owned(sum(at.grad, g));
    g.dispose();
  }
}

/** The options of `grad`. */
export interface GradOptions {
  /** The gradient of each output; a one-element output defaults to 1. */
  readonly gradOutputs?: readonly Tensor[];
  /** Keeps the tape, so that it can be walked again. Default false. */
  readonly retainGraph?: boolean;
}

const gradRules: Rules<GradOptions> = { gradOutputs: rule("a list of tensors", isList), retainGraph: flag };

/** @throws unless these are a list of tensors, and a list of gradients that is not longer */
function checkLists(who: string, outputs: readonly Tensor[], gradients: readonly (Tensor | null)[]): void {
  if (!isList(outputs) || !isList(gradients)) {
    const got = isList(outputs) ? gradients : outputs;
    throw new TypeError(`${who}: got ${shown(got)}, expected a list of tensors, such as [loss]`);
  }
  for (const t of outputs) checkTensor(who, t);
  for (const t of gradients) if (t !== null && t !== undefined) checkTensor(who, t);
  if (gradients.length > outputs.length) {
    throw new Error(`${who}: ${gradients.length} gradients for ${outputs.length} outputs`);
  }
}

/**
 * d(outputs)/d(inputs), without touching `.grad`. Inputs may be leaves or intermediate values.
 * The part of the tape that was walked is freed unless `retainGraph`.
 *
 * @example The gradient of a sum of squares
 * ```ts
 * import { grad, tensor } from "@tessera/vqgan/core";
 *
 * const x = tensor([1, 2], [2], { requiresGrad: true });
 * const [gx] = grad([x.square().sum()], [x]); // [2, 4]
 * ```
 * @returns a gradient for each input, of its shape
 * @throws if the outputs do not depend on an input, or as `backward` does
 */
export function grad(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  options: GradOptions = {},
): Tensor[] {
  return finish(gradParts(outputs, inputs, options));
}

/** `grad` in parts. */
export function* gradParts(
  outputs: readonly Tensor[],
  inputs: readonly Tensor[],
  options: GradOptions = {},
): Parts<Tensor[]> {
  checkOptions("grad", options, gradRules);
  checkLists("grad", outputs, options.gradOutputs ?? []);
  if (!isList(inputs)) {
    throw new TypeError(`grad: the inputs are ${shown(inputs)}, expected a list of tensors`);
  }
  for (const input of inputs) checkTensor("grad", input);
  const targets = new Set(inputs.map(sinkOf));
  const { gradOutputs = [], retainGraph = false } = options;
  const sink = yield* scopeParts(() => walk(outputs, gradOutputs, targets, retainGraph), false);
  const found = inputs.map((t, i) => {
    const g = sink.get(sinkOf(t));
    if (!g) throw new Error(`grad: the outputs do not depend on input ${i} (shape [${t.shape}])`);
    return g.detach(); // a view, because an input may be listed twice
  });
  for (const g of sink.values()) g.dispose();
  return found;
}

/**
 * Returns `fn(...xs)` and keeps only `xs` for backward, which computes everything inside again. This saves memory.
 * Parameters that `fn` uses get their gradients from `backward` (not from `grad`, which sees only `xs`).
 *
 * @example A part of which only the input is kept
 * ```ts
 * import { checkpoint, tensor } from "@tessera/vqgan/core";
 *
 * const x = tensor([1, 2], [2], { requiresGrad: true });
 * const y = checkpoint((x) => x.exp().add(1).log(), x);
 * ```
 * @throws if `fn` does not return a tensor, or what follows it are not tensors
 */
export function checkpoint(fn: (...xs: Tensor[]) => Tensor, ...xs: Tensor[]): Tensor {
  check("checkpoint", "fn", fn, callback);
  for (const x of xs) checkTensor("checkpoint", x);
  const out = scope(() =>
    withGrad(false, () => {
      const y = fn(...xs);
      checkTensor("checkpoint: what the function returns", y);
      return y.detach();
    })
  );
  if (!isGradEnabled()) return out;
  const edges = xs.map((t) => (tracked(t) ? sinkOf(t) : null));
  const vjp: Vjp = (g, saved, needs) => {
    saved.forEach((t, i) => t.requiresGrad = needs[i]);
    const again = withGrad(true, () => fn(...saved));
    const targets = accumulating ? null : new Set<Node | Tensor>(saved);
    const sink = finish(walk([again], [g], targets, false));
    const gradients = saved.map((t) => {
      const g = sink.get(t);
      sink.delete(t);
      return g ? handOver(g) : null;
    });
    for (const [at, g] of sink) settle(at, g); // parameters inside fn
    return gradients;
  };
  out.node = new Node("checkpoint", out.shape, out.dtype, edges, xs, vjp, null);
  return out;
}
