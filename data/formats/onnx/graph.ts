// Builds an ONNX graph node by node. A value is known by its name, and a weight by its key in the checkpoint.
import { create } from "@bufbuild/protobuf";
import type { TensorToWrite } from "../values.ts";
import { type GraphProto, GraphProtoSchema } from "./schema.ts";

/** ONNX's numbers for the types of elements (TensorProto.DataType) that we use. */
export const elementType = { f32: 1, i32: 6, i64: 7, f16: 10 } as const;

/** ONNX's numbers for the kinds of attributes (AttributeProto.AttributeType) that we use. */
const attributeType = { float: 1, int: 2, string: 3, ints: 7 } as const;

/** The argument of a node: a whole number, a list of them, a text, or a fraction, which is written as `{ float: 1e-6 }`. */
export type Argument = number | string | readonly number[] | { readonly float: number };

/** An input or output of a graph. Axes with a name can have any length. */
export interface Port {
  readonly name: string;
  readonly type: keyof typeof elementType;
  readonly shape: readonly (number | string)[];
  /** What the values mean. */
  readonly description: string;
}

/** A graph in the making: its nodes, and the tensors that become its initializers. */
export class Graph {
  /** The tensors that the nodes use, in the order in which they are written. */
  readonly weights: Map<string, TensorToWrite> = new Map<string, TensorToWrite>();
  readonly #nodes: GraphProto["node"] = [];
  readonly #taken: Map<string, number> = new Map<string, number>();
  readonly #source: ReadonlyMap<string, TensorToWrite>;

  /** An empty graph. @param source the weights that can be used, under taming's keys */
  constructor(source: ReadonlyMap<string, TensorToWrite>) {
    this.#source = source;
  }

  /** Whether the checkpoint has this tensor. */
  has(key: string): boolean {
    return this.#source.has(key);
  }

  /** The shape of a weight. @throws if the checkpoint does not have it */
  shapeOf(key: string): readonly number[] {
    return this.#stored(key).shape;
  }

  /**
   * The value of a weight as f32. One that is stored as f16 is cast, so the file is smaller and the arithmetic the same.
   * @param shape another shape with as many elements, such as [C, 1, 1] for a bias
   */
  weight(key: string, shape: readonly number[] = this.shapeOf(key)): string {
    const cast = `${key}.f32`;
    const isHalf = this.#stored(key).dtype === "f16";
    if (!this.weights.has(key)) {
      this.weights.set(key, { ...this.#stored(key), name: key, shape });
      if (isHalf) this.add("Cast", [key], { to: elementType.f32 }, cast);
    }
    return isHalf ? cast : key;
  }

  /** A constant of whole numbers, such as a shape. */
  integers(name: string, values: readonly number[]): string {
    return this.#constant({
      name,
      dtype: "i64",
      shape: [values.length],
      data: () => BigInt64Array.from(values.map(BigInt)),
    });
  }

  /** A constant of fractions. */
  floats(name: string, values: readonly number[], shape: readonly number[] = [values.length]): string {
    return this.#constant({ name, dtype: "f32", shape, data: () => Float32Array.from(values) });
  }

  /**
   * Adds a node with one output.
   * @param name the name that the output gets; a number is added if it is taken, because a layer can run twice
   * @returns the name of its output, which is also the node's name
   */
  add(
    opType: string,
    input: readonly string[],
    attributes: Readonly<Record<string, Argument>>,
    name: string,
  ): string {
    const times = (this.#taken.get(name) ?? 0) + 1;
    this.#taken.set(name, times);
    const output = times === 1 ? name : `${name}.${times}`;
    const attribute = Object.entries(attributes).map(([name, value]) => ({ name, ...attributeOf(value) }));
    const node = { opType, name: output, input: [...input], output: [output], attribute };
    this.#nodes.push(...create(GraphProtoSchema, { node: [node] }).node);
    return output;
  }

  /** The finished graph without its initializers, which are written one at a time. */
  finish(name: string, docString: string, input: readonly Port[], output: readonly Port[]): GraphProto {
    const graph = create(GraphProtoSchema, {
      name,
      docString,
      input: input.map(valueInfo),
      output: output.map(valueInfo),
    });
    graph.node = this.#nodes;
    return graph;
  }

  #stored(key: string): TensorToWrite {
    const stored = this.#source.get(key);
    if (!stored) throw new Error(`ONNX: the checkpoint has no tensor ${key}`);
    return stored;
  }

  #constant(tensor: TensorToWrite): string {
    this.weights.set(tensor.name, tensor);
    return tensor.name;
  }
}

function attributeOf(value: Argument) {
  if (typeof value === "number") return { type: attributeType.int, i: BigInt(value) };
  if (typeof value === "string") return { type: attributeType.string, s: new TextEncoder().encode(value) };
  if ("float" in value) return { type: attributeType.float, f: value.float };
  return { type: attributeType.ints, ints: value.map(BigInt) };
}

function valueInfo({ name, type, shape, description }: Port) {
  const dim = shape.map((length) => ({
    value: typeof length === "number"
      ? { case: "dimValue" as const, value: BigInt(length) }
      : { case: "dimParam" as const, value: length },
  }));
  const tensorType = { elemType: elementType[type], shape: { dim } };
  return {
    name,
    docString: description,
    type: { value: { case: "tensorType" as const, value: tensorType } },
  };
}
