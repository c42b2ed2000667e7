// Writes ONNX models of one operation as protobuf, because onnxruntime-web runs models and not single operations.
import type { Job } from "./jobs.ts";

type Bytes = number[];

function varint(n: number): Bytes {
  const out: Bytes = [];
  for (; n > 127; n = Math.floor(n / 128)) out.push((n % 128) | 128);
  return [...out, n];
}
const text = (field: number, value: string): Bytes => message(field, [...new TextEncoder().encode(value)]);
const whole = (field: number, value: number): Bytes => [...varint(field << 3), ...varint(value)];
const message = (
  field: number,
  bytes: Bytes,
): Bytes => [...varint(field << 3 | 2), ...varint(bytes.length), ...bytes];

const FLOAT = 1, INTS = 7, STRING = 3;
const ints = (name: string, values: readonly number[]): Bytes =>
  message(5, [...text(1, name), ...values.flatMap((v) => whole(8, v)), ...whole(20, INTS)]);
const word = (name: string, value: string): Bytes =>
  message(5, [...text(1, name), ...text(4, value), ...whole(20, STRING)]);

function node(
  op: string,
  inputs: readonly string[],
  output: string,
  attributes: readonly Bytes[] = [],
): Bytes {
  return message(1, [
    ...inputs.flatMap((input) => text(1, input)),
    ...text(2, output),
    ...text(4, op),
    ...attributes.flat(),
  ]);
}

function value(field: number, name: string, shape: readonly number[]): Bytes {
  const dims = message(2, shape.flatMap((n) => message(1, whole(1, n))));
  return message(field, [...text(1, name), ...message(2, message(1, [...whole(1, FLOAT), ...dims]))]);
}

/** A constant of the model: f32 numbers. */
function constant(name: string, values: readonly number[]): Bytes {
  const bytes = new Uint8Array(Float32Array.from(values).buffer);
  return message(5, [
    ...whole(1, values.length),
    ...whole(2, FLOAT),
    ...text(8, name),
    ...message(9, [...bytes]),
  ]);
}

/** A model of y = conv(x, w) in NCHW, or y = x w. The shapes are those of x, w and y. */
export function onnxModel(
  job: Job,
  shapes: { x: readonly number[]; w: readonly number[]; y: readonly number[] },
): Uint8Array {
  const nodes: Bytes[] = [];
  if (job.kind === "matmul") nodes.push(node("MatMul", ["x", "w"], "y"));
  else {
    const { padding: [top, bottom, left, right], stride, upsample } = job;
    if (upsample === 2) {
      const how = [
        word("mode", "nearest"),
        word("coordinate_transformation_mode", "asymmetric"),
        word("nearest_mode", "floor"),
      ];
      nodes.push(node("Resize", ["x", "", "scales"], "large", how));
    }
    const how = [ints("pads", [top, left, bottom, right]), ints("strides", [stride, stride])];
    nodes.push(node("Conv", [upsample === 2 ? "large" : "x", "w"], "y", how));
  }
  const graph = [
    ...nodes.flat(),
    ...text(2, "bench"),
    ...("upsample" in job && job.upsample === 2 ? constant("scales", [1, 1, 2, 2]) : []),
    ...value(11, "x", shapes.x),
    ...value(11, "w", shapes.w),
    ...value(12, "y", shapes.y),
  ];
  return Uint8Array.from([...whole(1, 8), ...message(7, graph), ...message(8, whole(2, 17))]);
}
