// The two halves of a VQGAN as ONNX graphs: pixels to tokens, and tokens to pixels. The layers are those of nn/, which are
// described there; which of them a level has is read from the keys of the weights. Here images are [batch, channels, height,
// width].
import { factorOf, type VQModelConfig } from "../config.ts";
import type { TensorToWrite } from "../values.ts";
import { elementType, Graph, type Port } from "./graph.ts";
import type { GraphProto } from "./schema.ts";

/** A graph and the tensors that it needs. */
export interface OnnxGraph {
  readonly graph: GraphProto;
  readonly weights: ReadonlyMap<string, TensorToWrite>;
}

/** Returns the graph from pixels to tokens. @param tensors the autoencoder's tensors under taming's keys, f32 or f16 */
export function encoderGraph(config: VQModelConfig, tensors: ReadonlyMap<string, TensorToWrite>): OnnxGraph {
  const graph = new Graph(tensors), net = new Layers(graph, config);
  let x = net.conv("pixels", "encoder.conv_in");
  for (const level of config.ddconfig.chMult.keys()) {
    x = net.level(x, `encoder.down.${level}`);
    const key = `encoder.down.${level}.downsample.conv`;
    // zeros only below and on the right
    if (graph.has(`${key}.weight`)) x = net.conv(x, key, { strides: [2, 2], pads: [0, 0, 1, 1] });
  }
  x = net.conv(net.norm(net.middle(x, "encoder.mid"), "encoder.norm_out", true), "encoder.conv_out");
  net.tokens(net.conv(x, "quant_conv"), "tokens");
  const factor = factorOf(config);
  const description = `tokens of pictures; height and width are multiples of ${factor}`;
  return { graph: graph.finish("encode", description, [pixels()], [tokens(config)]), weights: graph.weights };
}

/** Returns the graph from tokens to pixels. @param tensors the autoencoder's tensors under taming's keys, f32 or f16 */
export function decoderGraph(config: VQModelConfig, tensors: ReadonlyMap<string, TensorToWrite>): OnnxGraph {
  const graph = new Graph(tensors), net = new Layers(graph, config);
  let x = net.conv(net.codes("tokens"), "post_quant_conv");
  x = net.middle(net.conv(x, "decoder.conv_in"), "decoder.mid");
  for (const level of [...config.ddconfig.chMult.keys()].toReversed()) {
    x = net.level(x, `decoder.up.${level}`);
    const key = `decoder.up.${level}.upsample.conv`;
    if (graph.has(`${key}.weight`)) x = net.conv(net.doubled(x, key), key);
  }
  net.conv(net.norm(x, "decoder.norm_out", true), "decoder.conv_out", {}, "pixels");
  const description = "pictures made from tokens; pixels can lie a little outside -1 to 1";
  return { graph: graph.finish("decode", description, [tokens(config)], [pixels()]), weights: graph.weights };
}

function pixels(): Port {
  return {
    name: "pixels",
    type: "f32",
    shape: ["batch", 3, "height", "width"],
    description: "red, green and blue from -1 (black) to 1: a byte b becomes b / 127.5 - 1",
  };
}

function tokens({ nEmbed }: VQModelConfig): Port {
  return {
    name: "tokens",
    type: "i32",
    shape: ["batch", "rows", "columns"],
    description: `the numbers of codes, from 0 to ${nEmbed - 1}`,
  };
}

/** The groups of every group norm, and what is added to the variance. */
const groups = 32, eps = 1e-6;

/** Adds the layers of a VQGAN to a graph. Each takes the name of its input and returns that of its output. */
class Layers {
  readonly #graph: Graph;
  readonly #config: VQModelConfig;

  constructor(graph: Graph, config: VQModelConfig) {
    this.#graph = graph;
    this.#config = config;
  }

  conv(
    x: string,
    key: string,
    { strides = [1, 1], pads }: { strides?: readonly number[]; pads?: readonly number[] } = {},
    output = `${key}.out`,
  ): string {
    const kernel = this.#graph.shapeOf(`${key}.weight`).slice(2);
    const inputs = [x, this.#graph.weight(`${key}.weight`)];
    if (this.#graph.has(`${key}.bias`)) inputs.push(this.#graph.weight(`${key}.bias`));
    const around = kernel.map((size) => (size - 1) / 2); // the same size comes out
    const options = { kernel_shape: kernel, strides, pads: pads ?? [...around, ...around] };
    return this.#graph.add("Conv", inputs, options, output);
  }

  /** Group norm by ONNX's instance norm, which normalises each row of [batch, groups, the rest]. */
  norm(x: string, key: string, swish = false): string {
    const graph = this.#graph;
    const shape = graph.add("Shape", [x], {}, `${key}.shape`);
    const rows = graph.add("Reshape", [x, graph.integers("group_rows", [0, groups, -1])], {}, `${key}.rows`);
    const one = graph.floats("group_scale", new Array(groups).fill(1));
    const zero = graph.floats("group_shift", new Array(groups).fill(0));
    const plain = graph.add(
      "InstanceNormalization",
      [rows, one, zero],
      { epsilon: { float: eps } },
      `${key}.plain`,
    );
    const back = graph.add("Reshape", [plain, shape], {}, `${key}.back`);
    const [channels] = graph.shapeOf(`${key}.weight`);
    const scaled = graph.add(
      "Mul",
      [back, graph.weight(`${key}.weight`, [channels, 1, 1])],
      {},
      `${key}.scaled`,
    );
    const out = graph.add("Add", [scaled, graph.weight(`${key}.bias`, [channels, 1, 1])], {}, `${key}.out`);
    if (!swish) return out;
    return graph.add("Mul", [out, graph.add("Sigmoid", [out], {}, `${key}.gate`)], {}, `${key}.swish`);
  }

  residual(x: string, key: string): string {
    let h = this.conv(this.norm(x, `${key}.norm1`, true), `${key}.conv1`);
    h = this.conv(this.norm(h, `${key}.norm2`, true), `${key}.conv2`);
    const shortcut = `${key}.nin_shortcut`;
    const kept = this.#graph.has(`${shortcut}.weight`) ? this.conv(x, shortcut) : x;
    return this.#graph.add("Add", [kept, h], {}, `${key}.out`);
  }

  attention(x: string, key: string): string {
    const graph = this.#graph;
    const n = this.norm(x, `${key}.norm`);
    const [channels] = graph.shapeOf(`${key}.q.weight`);
    const flat = graph.integers(`${key}.flat_shape`, [0, channels, -1]);
    const [q, k, v] = ["q", "k", "v"].map((name) =>
      graph.add("Reshape", [this.conv(n, `${key}.${name}`), flat], {}, `${key}.${name}.flat`)
    );
    const turned = graph.add("Transpose", [q], { perm: [0, 2, 1] }, `${key}.q.turned`);
    const scale = graph.floats(`${key}.scale`, [channels ** -0.5], []);
    const scores = graph.add(
      "Mul",
      [graph.add("MatMul", [turned, k], {}, `${key}.qk`), scale],
      {},
      `${key}.scores`,
    );
    const weights = graph.add("Softmax", [scores], { axis: -1 }, `${key}.weights`);
    const byPixel = graph.add("Transpose", [weights], { perm: [0, 2, 1] }, `${key}.weights.turned`);
    const mixed = graph.add("MatMul", [v, byPixel], {}, `${key}.mixed`);
    const back = graph.add(
      "Reshape",
      [mixed, graph.add("Shape", [x], {}, `${key}.shape`)],
      {},
      `${key}.back`,
    );
    return graph.add("Add", [x, this.conv(back, `${key}.proj_out`)], {}, `${key}.out`);
  }

  middle(x: string, key: string): string {
    let h = this.residual(x, `${key}.block_1`);
    if (this.#graph.has(`${key}.attn_1.q.weight`)) h = this.attention(h, `${key}.attn_1`);
    return this.residual(h, `${key}.block_2`);
  }

  /** The blocks of one resolution, each followed by its attention if the level has any, in the order of the config. */
  level(x: string, key: string): string {
    const count = (part: string, weight: string) => {
      let n = 0;
      while (this.#graph.has(`${key}.${part}.${n}.${weight}.weight`)) n++;
      return n;
    };
    const attentions = [...Array(count("attn", "q")).keys()];
    for (let i = 0; i < count("block", "conv1"); i++) {
      x = this.residual(x, `${key}.block.${i}`);
      const following = this.#config.attentionOrder === "taming" ? attentions.slice(i, i + 1) : attentions;
      for (const j of following) x = this.attention(x, `${key}.attn.${j}`);
    }
    return x;
  }

  /** Twice the height and width, by repeating each pixel. */
  doubled(x: string, key: string): string {
    const scales = this.#graph.floats("twice", [1, 1, 2, 2]);
    const nearest = { mode: "nearest", coordinate_transformation_mode: "asymmetric", nearest_mode: "floor" };
    return this.#graph.add("Resize", [x, "", scales], nearest, `${key}.doubled`);
  }

  /** The numbers of the codes that the quantizer of the config chooses. */
  tokens(z: string, output: string): string {
    const graph = this.#graph;
    const chosen = this.#config.quantizer === "gumbel"
      ? graph.add("ArgMax", [this.conv(z, "quantize.proj")], { axis: 1, keepdims: 0 }, "quantize.highest")
      : this.#nearestCode(z);
    return graph.add("Cast", [chosen], { to: elementType.i32 }, output);
  }

  /** The nearest code: the lowest |e|^2 - 2 z e, which is |z - e|^2 without |z|^2, the same for all codes. */
  #nearestCode(z: string): string {
    const graph = this.#graph, book = this.#codebook();
    const last = this.#scaled(graph.add("Transpose", [z], { perm: [0, 2, 3, 1] }, "quantize.z"));
    const turned = graph.add("Transpose", [book], { perm: [1, 0] }, "quantize.codes.turned");
    const products = graph.add("MatMul", [last, turned], {}, "quantize.products");
    const twice = graph.add("Add", [products, products], {}, "quantize.products.twice");
    const squares = graph.add("Mul", [book, book], {}, "quantize.squares");
    const axis = graph.integers("last_axis", [-1]);
    const lengths = graph.add("ReduceSum", [squares, axis], { keepdims: 0 }, "quantize.lengths");
    const distances = graph.add("Sub", [lengths, twice], {}, "quantize.distances");
    return graph.add("ArgMin", [distances], { axis: -1, keepdims: 0 }, "quantize.nearest");
  }

  /** The codes of tokens, as an image. */
  codes(indices: string): string {
    const rows = this.#graph.add("Gather", [this.#codebook(), indices], { axis: 0 }, "quantize.rows");
    return this.#graph.add("Transpose", [rows], { perm: [0, 3, 1, 2] }, "quantize.out");
  }

  #codebook(): string {
    if (this.#config.quantizer === "gumbel") return this.#graph.weight("quantize.embed.weight");
    return this.#scaled(this.#graph.weight("quantize.embedding.weight"));
  }

  /** Vectors of length 1 along the last axis, if the quantizer is `normalized`. */
  #scaled(vectors: string): string {
    if (this.#config.quantizer !== "normalized") return vectors;
    const graph = this.#graph;
    const squares = graph.add("Mul", [vectors, vectors], {}, `${vectors}.squares`);
    const axis = graph.integers("last_axis", [-1]);
    const sums = graph.add("ReduceSum", [squares, axis], { keepdims: 1 }, `${vectors}.sums`);
    const least = graph.add("Max", [sums, graph.floats("least_square", [1e-24], [])], {}, `${vectors}.least`);
    return graph.add(
      "Div",
      [vectors, graph.add("Sqrt", [least], {}, `${vectors}.length`)],
      {},
      `${vectors}.unit`,
    );
  }
}
