// Writes ONNX files, with one weight in memory at a time. Protobuf allows this: a message is the sequence of its fields,
// so the initializers can follow the rest of the graph.
import { create, toBinary } from "@bufbuild/protobuf";
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { sizeOf } from "../../../src/shape.ts";
import type { VQModelConfig, VQModelOverrides } from "../config.ts";
import type { Sink } from "../sink.ts";
import { itemSize } from "../stored_tensor.ts";
import { storedBytes, type TensorToWrite } from "../values.ts";
import { elementType } from "./graph.ts";
import { GraphProtoSchema, ModelProtoSchema, TensorProtoSchema } from "./schema.ts";
import { decoderGraph, encoderGraph, type OnnxGraph } from "./vqgan.ts";

/** The halves of a model, each of which becomes a file of its own. */
export type OnnxHalf = "encoder" | "decoder";

/** The first versions with all operators that we use, so that old runtimes read the files too (onnxruntime 1.13). */
const irVersion = 8n, operators = 17n;

/** Field numbers of onnx.proto: graph of ModelProto, initializer of GraphProto, raw_data of TensorProto. */
const graphField = 7, initializerField = 5, rawDataField = 9;

/** A protobuf message must be smaller than this many bytes. */
const limit = 2 ** 31;

/**
 * Writes one half of an autoencoder as an ONNX model.
 * @param tensors the tensors under taming's keys. Those stored as f16 are cast to f32 when the model is loaded
 * @param stated the part of the config that is known, for the metadata
 * @throws if a tensor is missing or of another type, or if the file would have 2 GB or more
 */
export async function writeOnnxTo(
  sink: Sink,
  half: OnnxHalf,
  tensors: Iterable<TensorToWrite>,
  config: VQModelConfig,
  stated: VQModelOverrides = config,
): Promise<void> {
  const byName = new Map([...tensors].map((tensor) => [tensor.name, floats(tensor)]));
  const made = half === "encoder" ? encoderGraph(config, byName) : decoderGraph(config, byName);
  await write(sink, made, {
    pixels: "[batch, 3, height, width], RGB from -1 to 1: a byte b becomes b / 127.5 - 1",
    tokens: `[batch, rows, columns], row by row, each from 0 to ${config.nEmbed - 1}`,
    config: JSON.stringify(stated),
  });
}

/** ONNX runtimes compute with f32 everywhere, and with bf16 or f64 only in part. */
function floats(tensor: TensorToWrite): TensorToWrite {
  if (tensor.dtype === "f32" || tensor.dtype === "f16") return tensor;
  const data = async () => {
    const values = await tensor.data();
    return values instanceof Float64Array ? Float32Array.from(values) : values;
  };
  return { ...tensor, dtype: "f32", data };
}

async function write(
  sink: Sink,
  { graph, weights }: OnnxGraph,
  metadata: Readonly<Record<string, string>>,
): Promise<void> {
  const rest = toBinary(GraphProtoSchema, graph);
  const all = [...weights.values()].map((tensor) => ({ tensor, head: head(tensor), fields: fields(tensor) }));
  const graphSize = all.reduce(
    (sum, { head, fields, tensor }) => sum + head.length + fields.length + bytesOf(tensor),
    rest.length,
  );
  const model = toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion,
      producerName: "tessera",
      docString: graph.docString,
      opsetImport: [{ domain: "", version: operators }],
      metadataProps: Object.entries(metadata).map(([key, value]) => ({ key, value })),
    }),
  );
  const size = model.length + graphSize;
  if (size >= limit) {
    throw new Error(
      `ONNX: the model would have ${
        (size / 1e9).toFixed(2)
      } GB, but a file must stay below 2.15: convert to f16`,
    );
  }
  await sink.write(model);
  await sink.write(new BinaryWriter().tag(graphField, WireType.LengthDelimited).uint32(graphSize).finish());
  await sink.write(rest);
  for (const { tensor, head, fields } of all) {
    await sink.write(head);
    await sink.write(fields);
    for (const bytes of storedBytes(tensor, await tensor.data())) await sink.write(bytes);
  }
}

function bytesOf({ shape, dtype }: TensorToWrite): number {
  return sizeOf(shape) * itemSize[dtype];
}

/** The bytes before a tensor: its field in the graph, and its length. */
function head(tensor: TensorToWrite): Uint8Array {
  const length = fields(tensor).length + bytesOf(tensor);
  return new BinaryWriter().tag(initializerField, WireType.LengthDelimited).uint32(length).finish();
}

/** The fields of a tensor up to the length of its values, which come last. */
function fields(tensor: TensorToWrite): Uint8Array {
  const { name, shape, dtype } = tensor;
  if (!(dtype in elementType)) throw new Error(`ONNX: tensor ${name} has type ${dtype}, expected floats`);
  const dataType = elementType[dtype as keyof typeof elementType];
  const described = create(TensorProtoSchema, { name, dims: shape.map(BigInt), dataType });
  const values = new BinaryWriter().tag(rawDataField, WireType.LengthDelimited).uint32(bytesOf(tensor))
    .finish();
  return Uint8Array.from([...toBinary(TensorProtoSchema, described), ...values]);
}
