// The weights of a face network by the names of the npm package @vladmandic/face-api, turned into layers: layouts become
// torch's, and a scale or batch norm that follows a convolution is multiplied into its weights.
import type { NamedValues } from "../../data/formats/tfjs.ts";
import { conv2d, scope, type Tensor, tensor } from "../../src/index.ts";
import { buffer } from "../init.ts";
import { Module } from "../module.ts";

/** A factor and a shift for each output channel, which follow a convolution. */
export interface Scaling {
  readonly factor: ArrayLike<number>;
  readonly shift: ArrayLike<number>;
}

/** How a `FrozenConv` moves over the picture. */
export interface FrozenConvOptions {
  readonly stride?: 1 | 2;
  /** Zeros as TensorFlow's "same" puts them; sizes must be even where the stride is 2. Default none. */
  readonly same?: boolean;
  /** Whether each channel has a filter of its own. Default false. */
  readonly depthwise?: boolean;
}

/** A convolution whose weights do not learn. */
export class FrozenConv extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly #groups: number;
  readonly #stride: number;
  readonly #padding: readonly [number, number, number, number];

  /** @param filters [out, in / groups, k, k] @param bias [out] */
  constructor(filters: NamedValues, bias: Float32Array, options: FrozenConvOptions) {
    super();
    const { stride = 1, same = false, depthwise = false } = options, kernel = filters.shape[2];
    this.weight = buffer(tensor(filters.values, filters.shape));
    this.bias = buffer(tensor(bias, [bias.length]));
    this.#groups = depthwise ? filters.shape[0] : 1;
    this.#stride = stride;
    // "same" puts the odd zero below and on the right
    const zeros = same ? kernel - stride : 0, before = Math.floor(Math.max(0, zeros) / 2);
    const after = Math.max(0, zeros) - before;
    this.#padding = [before, after, before, after];
  }

  call(x: Tensor): Tensor {
    const options = { groups: this.#groups, stride: this.#stride, padding: this.#padding };
    return conv2d(x, this.weight, this.bias, options);
  }
}

/** The tensors of one network of the package. */
export class FaceWeights {
  /** The file that they are from, for messages. */
  readonly path: string;
  readonly #tensors: ReadonlyMap<string, NamedValues>;

  constructor(tensors: ReadonlyMap<string, NamedValues>, path: string) {
    this.#tensors = tensors;
    this.path = path;
  }

  /** The values of a tensor. @throws if it is missing or has another shape; null stands for any size */
  values(name: string, shape: readonly (number | null)[]): NamedValues {
    const found = this.#tensors.get(name);
    const wanted = `[${shape.map((n) => n ?? "any")}]`;
    if (found === undefined) {
      throw new Error(`${this.path}: the tensor ${name} of shape ${wanted} is missing`);
    }
    const fits = found.shape.length === shape.length &&
      shape.every((n, i) => n === null || n === found.shape[i]);
    if (!fits) throw new Error(`${this.path}: ${name} has shape [${found.shape}], expected ${wanted}`);
    return found;
  }

  /** A list of numbers, one for each channel. */
  list(name: string, length: number): Float32Array {
    return this.values(name, [length]).values;
  }

  /** A convolution with filters [k, k, in, out], or [k, k, channels, 1] if it is depthwise. */
  conv(
    filters: string,
    bias: string | null,
    options: FrozenConvOptions = {},
    scaling: Scaling | null = null,
  ): FrozenConv {
    const { shape, values } = this.values(filters, [null, null, null, null]);
    const turned = toTorch(shape, values, options.depthwise ?? false), out = turned.shape[0];
    const shifts = bias === null ? new Float32Array(out) : this.list(bias, out).slice();
    if (scaling) {
      const each = turned.values.length / out;
      for (let i = 0; i < turned.values.length; i++) turned.values[i] *= scaling.factor[Math.floor(i / each)];
      for (let i = 0; i < out; i++) shifts[i] = shifts[i] * scaling.factor[i] + scaling.shift[i];
    }
    return new FrozenConv(turned, shifts, options);
  }
}

/** Filters [k, k, in, out] as [out, in, k, k], or [k, k, channels, 1] as [channels, 1, k, k]. */
function toTorch(shape: readonly number[], values: Float32Array, depthwise: boolean): NamedValues {
  const [height, width, third, fourth] = shape, pixels = height * width;
  const [out, inside] = depthwise ? [third, fourth] : [fourth, third];
  const turned = new Float32Array(values.length);
  for (let o = 0, to = 0; o < out; o++) {
    for (let i = 0; i < inside; i++) {
      const first = depthwise ? o * fourth + i : i * fourth + o;
      for (let p = 0; p < pixels; p++) turned[to++] = values[first + p * third * fourth];
    }
  }
  return { shape: [out, inside, height, width], values: turned };
}

/** Runs layers one after another, each followed by `activation`. */
export function through(x: Tensor, layers: readonly FrozenConv[], activation: (x: Tensor) => Tensor): Tensor {
  return layers.reduce((at, layer) => scope(() => activation(layer.call(at))), x);
}
