// The tape: a graph of Nodes, one for each recorded operation. A node knows its inputs, the values that it saved, and the
// function that applies the chain rule to it (`Vjp`). autograd.ts walks it backwards.
import { takeId, type TapeNode, Tensor } from "./array.ts";
import type { DType, Shape } from "./backends/buffer.ts";
import { callback, check, orNull, shown, text } from "./check.ts";
import { checkTensor } from "./operands.ts";
import { isGradEnabled, withGrad } from "./scope.ts";
import type { Storage } from "./storage.ts";

/**
 * The vector-Jacobian product, which is the chain rule for one operation: given `g`, the gradient of the loss with respect
 * to the output, it returns the gradients with respect to the inputs. An entry is null where `needs` is false or where
 * there is no gradient.
 */
export type Vjp = (g: Tensor, saved: Tensor[], needs: boolean[]) => (Tensor | null)[];
/** Computes the output again from what was saved, if that is cheaper than keeping it. */
export type Recompute = (saved: Tensor[]) => Tensor;

/** The node that made a tensor. array.ts declares it as a `TapeNode`, so that it need not import this file. */
export const nodeOf = (t: Tensor): Node | null => t.node as Node | null;

/** Where a tensor's gradient goes: to the node that made it, or to itself when it is a leaf. */
export const sinkOf = (t: Tensor): Node | Tensor => nodeOf(t) ?? t;

/** Whether gradients flow to this tensor. */
export function tracked(t: Tensor | null): t is Tensor {
  return t !== null && (t.requiresGrad || t.node !== null);
}

/** A value kept for backward: either its memory is retained, or the node that can compute it again. */
class Saved {
  readonly #tensor: Tensor | null;
  readonly #storage: Storage | null;
  readonly #version: number;
  /** The node that can compute the value again. The node that saved this value releases it. */
  readonly recipe: Node | null;

  constructor(t: Tensor) {
    const node = nodeOf(t);
    this.recipe = node?.recompute ? node.retain() : null;
    this.#tensor = this.recipe ? null : t;
    this.#storage = this.recipe ? null : t.storage.retain();
    this.#version = t.storage.version;
  }

  /** Returns the value as a tensor that belongs to the current scope. */
  get(): Tensor {
    if (this.recipe) return withGrad(false, () => this.recipe!.again());
    const { shape, strides, offset } = this.#tensor!;
    if (this.#storage!.version !== this.#version) {
      throw new Error(
        `backward: a saved tensor of shape [${shape}] was overwritten in place before backward used it`,
      );
    }
    return this.#tensor!.alias(shape, strides, offset);
  }

  releaseMemory(): void {
    this.#storage?.release();
  }
}

/** One recorded operation. It lives as long as its output or an operation that used its output does. */
export class Node implements TapeNode {
  readonly name: string;
  readonly shape: Shape;
  readonly dtype: DType;
  /** Where gradients go: the node that made the input, or the input itself when it is a leaf. */
  readonly inputs: readonly (Node | Tensor | null)[];
  readonly vjp: Vjp;
  readonly recompute: Recompute | null;

  readonly id: number = takeId();
  #references = 1;
  #saved: Saved[] | null;

  constructor(
    name: string,
    shape: Shape,
    dtype: DType,
    inputs: readonly (Node | Tensor | null)[],
    saved: readonly Tensor[],
    vjp: Vjp,
    recompute: Recompute | null,
  ) {
    this.name = name;
    this.shape = shape;
    this.dtype = dtype;
    this.inputs = inputs;
    this.vjp = vjp;
    this.recompute = recompute;
    for (const input of inputs) if (input instanceof Node) input.retain();
    this.#saved = saved.map((t) => new Saved(t));
  }

  retain(): this {
    this.#references++;
    return this;
  }

  release(): void {
    if (--this.#references === 0) this.free();
  }

  /** The saved values. @throws if backward has already used them up. */
  saved(): Tensor[] {
    if (!this.#saved) {
      throw new Error(
        `backward: the graph of ${this.name} was freed by an earlier backward() or grad(): compute the output again, ` +
          "or add up losses that share it and call backward() once; grad() keeps it with retainGraph: true",
      );
    }
    return this.#saved.map((s) => s.get());
  }

  again(): Tensor {
    return this.recompute!(this.saved());
  }

  /** Releases the saved memory and the nodes before this one. It is a loop, because a long chain would overflow the stack. */
  free(): void {
    const unused: Node[] = [this];
    const drop = (node: Node) => {
      node.#references -= 1;
      if (node.#references === 0) unused.push(node);
    };
    for (let node = unused.pop(); node; node = unused.pop()) {
      const saved = node.#saved;
      if (!saved) continue;
      node.#saved = null;
      for (const s of saved) {
        s.releaseMemory();
        if (s.recipe) drop(s.recipe);
      }
      for (const input of node.inputs) if (input instanceof Node) drop(input);
    }
  }
}

const functionOrNull = orNull(callback);

/**
 * Puts an operation on the tape, so that `backward` goes through it. Call it to give an operation of your own a gradient.
 * Does nothing inside `noGrad`, or when no input asks for a gradient.
 *
 * @param name for error messages
 * @param out the result, which must have been computed inside `noGrad` if it came from other operations
 * @param inputs the tensors whose gradients `vjp` returns, in the same order
 * @param save the tensors that `vjp` needs; their memory is kept until backward has used them
 * @param vjp given the gradient of `out`, returns the gradients of `inputs` (the vector-Jacobian product)
 * @param recompute computes `out` again from what was saved, so that the tape need not keep `out`
 * @returns out
 * @example A sign that passes the gradient straight through
 * ```ts
 * import { greater, noGrad, record, type Tensor } from "@tessera/vqgan/core";
 *
 * const sign = (x: Tensor) =>
 *   record("sign", noGrad(() => greater(x, 0).mul(2).sub(1)), [x], [], (g) => [g]);
 * ```
 */
export function record(
  name: string,
  out: Tensor,
  inputs: readonly (Tensor | null)[],
  save: readonly Tensor[],
  vjp: Vjp,
  recompute: Recompute | null = null,
): Tensor {
  check("record", "name", name, text);
  checkTensor("record", out);
  if (!Array.isArray(inputs) || !Array.isArray(save) || typeof vjp !== "function") {
    throw new TypeError(
      `record: got ${shown(inputs)}, ${shown(save)} and ${
        shown(vjp)
      } for ${name}, expected a list of inputs, a list of ` +
        "tensors to save and a function",
    );
  }
  for (const t of inputs) if (t !== null) checkTensor("record: an input", t);
  for (const t of save) checkTensor("record: a value to save", t);
  check("record", "recompute", recompute, functionOrNull);
  if (!isGradEnabled() || !inputs.some(tracked)) return out;
  const edges = inputs.map((t) => (tracked(t) ? sinkOf(t) : null));
  out.node = new Node(name, out.shape, out.dtype, edges, save, vjp, recompute);
  return out;
}
