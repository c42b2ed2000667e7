// The error messages of wrong calls: every message of the tensor library once. Each names the operation and the numbers.
import { describe, expect, test } from "bun:test";
import * as t from "../../src/index.ts";
import { expectNoLeak } from "../support/expectations.ts";

const z = t.zeros;
const ints = (...values: number[]) => t.tensor(Int32Array.from(values));
/** A value of a wrong type, as a program without type checks may pass it. */
const wrong = (value: unknown) => value as never;

const conv = (options: t.Conv2dOptions) => t.conv2d(z([1, 4, 4, 3]), z([8, 3, 3, 3]), null, options);
const norm = (options: t.GroupNormOptions) => t.groupNorm(z([1, 2, 2, 6]), z([6]), z([6]), options);
const pool = (options: object) => t.maxPool2d(z([1, 2, 2, 1]), wrong(options));
const adam = (changes: Partial<t.AdamSpec>) =>
  t.adamStep(z([1]), z([1]), z([1]), z([1]), { lr: 1, beta1: 0, beta2: 0, eps: 1, step: 1, ...changes });

/** What is called, and what the message must contain. */
const synchronous: [string, () => unknown, string | RegExp][] = [
  ["tensor", () => t.tensor([1, 2, 3], [2, 2]), "tensor: 3 values do not fill shape [2,2] (4 elements)"],
  [
    "tensor",
    () => t.tensor(wrong(5)),
    "tensor: the values are 5, expected a list of numbers; full([], value)",
  ],
  [
    "tensor",
    () => t.tensor(wrong(undefined)),
    "tensor: the values are undefined, expected a list of numbers",
  ],
  [
    "tensor",
    () => t.tensor(wrong([[1, 2], [3, 4]])),
    "value 0 is [1, 2], expected a number; give one flat list",
  ],
  ["tensor", () => t.tensor(wrong(["1"]), [1]), 'tensor: value 0 is "1", expected a number'],
  ["tensor", () => t.tensor(wrong(BigInt64Array.of(1n)), [1]), "tensor: value 0 is 1n, expected a number"],
  [
    "tensor",
    () => t.tensor([1, 1.5], [2], { dtype: "i32" }),
    "tensor: value 1 is 1.5, expected a whole number",
  ],
  [
    "tensor",
    () => t.tensor(Float32Array.of(NaN), [1], { dtype: "i32" }),
    "tensor: value 0 is NaN, expected a whole",
  ],
  [
    "tensor",
    () => t.tensor([2 ** 31], [1], { dtype: "i32" }),
    "value 0 is 2147483648, expected a whole number of 32",
  ],
  [
    "tensor",
    () => t.tensor([1], [1], wrong({ dtype: "f16" })),
    'tensor: dtype is "f16", expected "f32" or "i32"',
  ],
  [
    "tensor",
    () => t.tensor([1], [1], wrong({ requireGrad: true })),
    'tensor: there is no option "requireGrad", use dtype or requiresGrad',
  ],
  ["tensor", () => t.tensor([1], [1], wrong("i32")), 'tensor: the options are "i32", expected an object'],
  ["zeros", () => z(wrong(4)), "the shape is 4, expected a list such as [2, 3]"],
  ["zeros", () => z([1], wrong("float32")), 'tensor: dtype is "float32", expected "f32", "f16" or "i32"'],
  ["full", () => t.full([2], wrong("1")), 'full: the value is "1", expected a number'],
  ["shape", () => z([2, 1.5]), "shape [2,1.5] has a size that is not a whole number"],
  ["shape", () => z([-1]), "shape [-1] has a size that is not a whole number"],
  ["write", () => z([3]).write(Float32Array.of(1, 2), 2), "write: 2 values at 2 do not fit shape [3]"],
  [
    "write",
    () => z([2, 3]).permute(1, 0).write(Float32Array.of(1)),
    "write: the tensor is a view (strides [1,3]); write to its base",
  ],
  [
    "write",
    () => z([3]).write(Int32Array.of(1)),
    "write: the values are Int32Array [1], a tensor of f32 takes a Float",
  ],
  ["write", () => ints(1).write(Float32Array.of(1)), "a tensor of i32 takes a Int32Array"],
  [
    "write",
    () => z([3]).write(wrong([1])),
    "write: the values are [1], a tensor of f32 takes a Float32Array",
  ],
  ["write", () => z([3]).write(Float32Array.of(1), 0.5), "write: the offset is 0.5, expected a whole number"],
  ["assign", () => z([3]).assign(wrong(3)), "assign: expected a tensor, got 3"],
  ["assign", () => z([1]).assign(ints(1)), "assign: a tensor of i32 does not fit one of f32"],
  ["assign", () => z([3]).assign(z([2])), "assign: shape [2] does not fit shape [3]"],
  [
    "assign",
    () => z([2, 3]).permute(1, 0).assign(z([6])),
    "assign: the tensor is a view (strides [1,3]); write to its base",
  ],
  ["memory", () => z([2 ** 30, 2]), "out of memory: 8192 MiB requested"],
  [
    "memory",
    () => z([2 ** 30, 2]),
    /\. \d+ tensors are alive: scope\(\), asyncScope\(\) and dispose\(\) free those/,
  ],
  ["rank", () => z([2, 2, 2, 2, 2, 2, 2]).permute(6, 5, 4, 3, 2, 1, 0).neg(), "has more than 6 dimensions"],
  [
    "freed",
    () => {
      const x = z([4]);
      x.dispose();
      x.add(1);
    },
    "tensor of shape [4] was already freed: return it from its scope, or keep() it",
  ],
  [
    "add",
    () => z([2, 3]).add(z([2])),
    "add: shapes [2,3] and [2] do not broadcast (3 against 2 in dimension 1)",
  ],
  ["mul", () => z([2]).mul(ints(1, 2)), "mul: needs a tensor of floats, this one is i32 (shape [2])"],
  ["add", () => z([2]).add(wrong("2")), 'add: expected a tensor, got "2"'],
  ["add", () => z([2]).add(wrong(undefined)), "add: expected a tensor, got undefined"],
  [
    "add",
    () => t.add(wrong(1), z([2])),
    "add: expected a tensor, got 1; full([], value) makes a tensor of a number",
  ],
  ["maximum", () => z([2]).maximum(wrong([1])), "maximum: expected a tensor, got [1]"],
  [
    "affine",
    () => t.affine(z([2]), 2, wrong(undefined)),
    "affine: scale and shift are 2 and undefined, expected two",
  ],
  ["leakyRelu", () => t.leakyRelu(z([2]), NaN), "leakyRelu: the slope is NaN, expected a number"],
  ["clamp", () => z([2]).clamp(1, 0), "clamp: the limits are 1 and 0, expected a low number and a high one"],
  ["clamp", () => z([2]).clamp(0, wrong(undefined)), "clamp: the limits are 0 and undefined"],
  [
    "cast",
    () => z([2]).cast(wrong("i32")),
    "cast: cannot turn f32 into i32; only f32 and f16 can be cast to each other",
  ],
  ["exp", () => ints(1).exp(), "exp: needs a tensor of floats, this one is i32 (shape [1])"],
  ["sum", () => z([2, 3]).sum(2), "sum: axis 2 is not in shape [2,3]"],
  ["sum", () => z([2, 3]).sum([1, -1]), "sum: the axes [1,-1] name an axis twice"],
  [
    "groupNorm",
    () => t.groupNorm(z([1, 0, 6]), z([6]), z([6]), { groups: 2 }),
    "groupNorm: shape [1,0,6] has no values to normalise; it needs",
  ],
  [
    "groupNorm",
    () => t.groupNorm(z([1, 2, 0]), z([0]), z([0])),
    "groupNorm: shape [1,2,0] has no values to normalise; it needs",
  ],
  [
    "groupNorm",
    () => t.groupNorm(z([1, 1, 100_000]), z([100_000]), z([100_000])),
    "groupNorm: 100000 channels, the CPU takes at most 87380",
  ],
  ["sum", () => z([2, 3]).sum(wrong("0")), 'sum: axis "0" is not in shape [2,3]'],
  ["concat", () => t.concat([z([2]), z([2])], wrong("0")), 'concat: axis "0" is not in shape [2]'],
  ["clamp", () => z([2]).clamp(wrong(null), 1), "clamp: the limits are null and 1"],
  ["zeros", () => z([1], wrong("toString")), 'tensor: dtype is "toString", expected "f32", "f16" or "i32"'],
  [
    "conv2d",
    () => conv(wrong({ toString: 2 })),
    'conv2d: there is no option "toString", use groups, stride',
  ],
  [
    "tensor",
    () => t.tensor(Int32Array.of(1), [1], { requiresGrad: true }),
    "tensor: an i32 tensor has no gradient",
  ],
  ["sum", () => z([2, 3]).sum(0.5), "sum: axis 0.5 is not in shape [2,3]"],
  ["sum", () => ints(1).sum(), "sum: needs a tensor of floats, this one is i32 (shape [1])"],
  ["softmax", () => t.softmax(z([2, 3]), 0), "softmax: the scale is 0, expected a number above 0"],
  ["softmax", () => t.softmax(z([2, 3]), -1), "softmax: the scale is -1, expected a number above 0"],
  ["mean", () => z([2, 3]).mean([0, -3]), "axis -3 is not in shape [2,3]"],
  [
    "reshape",
    () => z([2, 3]).reshape(4, -1),
    "reshape: shape [4,-1] does not fit the 6 elements of shape [2,3]",
  ],
  [
    "reshape",
    () => z([2, 3]).reshape(4, 5),
    "reshape: shape [4,5] does not fit the 6 elements of shape [2,3]",
  ],
  [
    "reshape",
    () => z([2, 3]).reshape(-2, -3),
    "reshape: shape [-2,-3] does not fit the 6 elements of shape [2,3]",
  ],
  [
    "reshape",
    () => z([2, 3]).reshape(-1, -1),
    "reshape: shape [-1,-1] does not fit the 6 elements of shape [2,3]",
  ],
  [
    "reshape",
    () => z([2, 3]).reshape(wrong([3, 2])),
    "reshape: got [[3, 2]], expected whole numbers, as in x.reshape(2, 3)",
  ],
  ["permute", () => z([2, 3]).permute(0, 0), "permute: [0,0] is not an order of the 2 axes of shape [2,3]"],
  [
    "slice",
    () => z([2, 3]).slice([0, 1], [2, 4]),
    "slice: 1 to 4 is not within size 3 of axis 1 (shape [2,3])",
  ],
  ["permute", () => z([2, 3]).permute(wrong([1, 0])), "permute: got [[1, 0]], expected whole numbers"],
  [
    "slice",
    () => z([2, 3]).slice(wrong(1), [2]),
    "slice: got 1, expected whole numbers, as in x.slice([0, 1], [2, 3])",
  ],
  ["slice", () => z([2, 3]).slice(wrong([[0, 1]]), [2]), "slice: got [[0, 1]], expected whole numbers"],
  ["slice", () => z([2, 3]).slice([0], wrong(undefined)), "slice: got undefined, expected whole numbers"],
  [
    "slice",
    () => z([2]).slice([0, 0], [1, 1]),
    "slice: [0,0] to [1,1] are more ranges than shape [2] has axes",
  ],
  ["expand", () => z([1]).expand(wrong(3)), "expand: got 3, expected whole numbers"],
  ["expand", () => z([2, 3]).expand([3]), "expand: shape [2,3] does not stretch to [3]"],
  [
    "concat",
    () => t.concat([z([2, 3]), z([3, 3])], 1),
    "concat: shape [3,3] does not fit [2,3] along axis 1",
  ],
  ["concat", () => t.concat([], 0), "concat: got [], expected a list of one tensor or more"],
  ["concat", () => t.concat([z([2])], 1), "concat: axis 1 is not in shape [2]"],
  ["concat", () => t.concat([z([1]), ints(1)], 0), "concat: cannot join f32 and i32; cast() one of them"],
  [
    "matmul",
    () => t.matmul(z([1, 1]), z([1, 1]), wrong({ transB: true })),
    'matmul: there is no option "transB", use transposeA',
  ],
  [
    "matmul",
    () => t.matmul(z([2]), z([2])),
    "matmul: needs two matrices or two equal batches, got shapes [2] and [2]",
  ],
  [
    "matmul",
    () => t.matmul(z([2, 3]), z([2, 3])),
    "matmul: inner sizes 3 and 2 differ (shapes [2,3] and [2,3])",
  ],
  [
    "attention",
    () => t.attention(z([1, 2, 3]), z([1, 2, 3]), z([1, 3, 3])),
    "attention: q, k and v must all be [B, T, C]; q is [1,2,3], v is [1,3,3]",
  ],
  [
    "conv2d",
    () => t.conv2d(z([4, 4, 3]), z([8, 3, 3, 3]), null),
    "conv2d: needs an image [B,H,W,C] and a weight [O,I,H,W], got shapes [4,4,3] and [8,3,3,3]",
  ],
  [
    "conv2d",
    () => t.conv2d(z([1, 4, 4, 3]), z([64, 4, 3, 3]), null),
    "conv2d: input has 3 channels, weight expects 4 (weight shape [64,4,3,3])",
  ],
  [
    "conv2d",
    () => t.conv2d(z([1, 2, 4, 3]), z([8, 3, 3, 3]), null),
    "conv2d: a 3x3 filter does not fit a 2x4 image with padding [0,0,0,0]",
  ],
  [
    "conv2d",
    () => t.conv2d(z([1, 4, 4, 3]), z([8, 3, 1, 1]), z([4])),
    "conv2d: bias has 4 values, the weight makes 8 channels",
  ],
  [
    "conv2d",
    () => t.conv2d(z([1, 4, 4, 3]), z([8, 3, 1, 1]), null, { residual: z([1, 4, 4, 3]) }),
    "conv2d: the residual has shape [1,4,4,3], the output [1,4,4,8]",
  ],
  [
    "conv2d",
    () => t.conv2d(z([1, 32, 32, 2048]), z([1, 2048, 32, 32]), null, { padding: [1, 0, 0, 0] }),
    "conv2d: a filter of 32,32 x 2048 channels is larger than the scratch memory",
  ],
  [
    "conv2d",
    () => {
      const weight = z([1, 430_000, 1, 1]);
      weight.requiresGrad = true;
      return t.grad([t.conv2d(z([1, 1, 1, 430_000]), weight)], [weight]);
    },
    "conv2d: a filter of 1,1 x 430000 channels is larger than the scratch memory",
  ],
  ["conv2d", () => conv({ stride: 0 }), "conv2d: stride is 0, expected a whole number >= 1"],
  ["conv2d", () => conv({ stride: 1.5 }), "conv2d: stride is 1.5, expected a whole number >= 1"],
  [
    "conv2d",
    () => conv({ padding: -1 }),
    "conv2d: padding is -1, expected a whole number >= 0, or four",
  ],
  ["conv2d", () => conv({ padding: wrong([1, 1]) }), "conv2d: padding is [1, 1], expected a whole number"],
  ["conv2d", () => conv({ upsample: wrong(3) }), "conv2d: upsample is 3, expected 1 or 2"],
  ["conv2d", () => conv({ dtype: "i32" }), 'conv2d: dtype is "i32", expected "f32" or "f16"'],
  [
    "conv2d",
    () => conv(wrong({ pad: 1 })),
    'conv2d: there is no option "pad", use groups, stride, padding, upsample, residual or dtype',
  ],
  [
    "conv2d",
    () => t.conv2d(ints(1), z([8, 3, 1, 1]), null),
    "conv2d: needs a tensor of floats, this one is i32",
  ],
  ["groupNorm", () => norm({ groups: 0 }), "groupNorm: groups is 0, expected a whole number >= 1"],
  ["groupNorm", () => norm({ eps: NaN }), "groupNorm: eps is NaN, expected a number >= 0"],
  [
    "groupNorm",
    () => norm(wrong({ epsilon: 1 })),
    'groupNorm: there is no option "epsilon", use groups, eps, swish or dtype',
  ],
  [
    "batchNorm",
    () => t.batchNorm(z([1, 2]), z([3]), z([2])),
    "batchNorm: shape [1,2] with 3 weights and 2 biases",
  ],
  [
    "batchNorm",
    () => t.batchNorm(z([1, 2]), z([2]), z([2]), { eps: -1 }),
    "batchNorm: eps is -1, expected a number >= 0",
  ],
  [
    "conv2d",
    () => t.conv2d(z([1, 4, 4, 6]), z([8, 1, 3, 3]), null, { groups: 4 }),
    "conv2d: 4 groups do not divide 6 input and 8 output channels",
  ],
  [
    "conv2d",
    () => t.conv2d(z([1, 4, 4, 8]), z([8, 8, 3, 3]), null, { groups: 4 }),
    "conv2d: input has 8 channels in 4 groups of 2, weight expects 8 (weight shape [8,8,3,3])",
  ],
  [
    "conv2d",
    () => t.conv2d(z([1, 4, 4, 8]), z([8, 2, 3, 3]), null, { groups: 4, upsample: 2 }),
    "conv2d: upsample 2 does not go with 4 groups; enlarge the input beforehand, or use 1 group",
  ],
  [
    "groupNorm",
    () => t.groupNorm(z([1, 2, 2, 6]), z([6]), z([6]), { groups: 4 }),
    "groupNorm: 4 groups do not divide 6 channels (input shape [1,2,2,6])",
  ],
  [
    "groupNorm",
    () => t.groupNorm(z([1, 2, 2, 6]), z([6]), z([5]), { groups: 3 }),
    "groupNorm: 6 channels, but 6 weights and 5 biases",
  ],
  ["maxPool2d", () => pool({ size: 2 }), "maxPool2d: stride is undefined, expected a whole number >= 1"],
  [
    "maxPool2d",
    () => pool({ size: 0, stride: 1 }),
    "maxPool2d: size is 0, expected a whole number >= 1",
  ],
  ["maxPool2d", () => pool({ size: 2, stride: 2, ceil: 1 }), "maxPool2d: ceil is 1, expected true or false"],
  [
    "maxPool2d",
    () => t.maxPool2d(z([2, 2]), { size: 1, stride: 1 }),
    "maxPool2d: needs an image [B,H,W,C], got shape [2,2]",
  ],
  [
    "maxPool2d",
    () => t.maxPool2d(z([1, 2, 2, 1]), { size: 3, stride: 2 }),
    "maxPool2d: a window of 3 does not fit shape [1,2,2,1]",
  ],
  [
    "maxPool2d",
    () => t.maxPool2d(z([2, 2, 1]), { size: 2, stride: 2 }),
    "maxPool2d: needs an image [B,H,W,C], got shape [2,2,1]",
  ],
  [
    "avgPool2d",
    () => t.avgPool2d(z([2, 2, 1]), { size: 2, stride: 2 }),
    "avgPool2d: needs an image [B,H,W,C], got shape [2,2,1]",
  ],
  [
    "avgPool2d",
    () => t.avgPool2d(z([1, 4, 4, 1]), { size: 2, stride: 0 }),
    "avgPool2d: stride is 0, expected a whole number >= 1",
  ],
  [
    "avgPool2d",
    () => t.avgPool2d(z([1, 4, 4, 1]), { size: 3, stride: 1, padding: 2 }),
    "avgPool2d: the padding is 2, windows of 3 take a whole number from 0 to 1",
  ],
  [
    "avgPool2d",
    () => t.avgPool2d(z([1, 6, 2, 1]), { size: 5, stride: 1, padding: 1 }),
    "avgPool2d: a window of 5 does not fit shape [1,6,2,1] with a padding of 1",
  ],
  ["argmax", () => t.argmax(z([2, 0])), "argmax: the rows of shape [2,0] are empty"],
  [
    "nearestCode",
    () => t.nearestCode(z([2, 3]), z([5, 4])),
    "nearestCode: z [2,3] and codebook [5,4] must be [N, C] and [K, C]",
  ],
  [
    "embedding",
    () => t.embedding(z([2]), z([5, 4])),
    "embedding: indices must be i32, these are f32: make them with tensor(Int32Array.from(list), shape)",
  ],
  ["embedding", () => t.embedding(ints(0), z([5])), "embedding: the table has shape [5], expected [K, C]"],
  [
    "lpipsDistance",
    () => t.lpipsDistance(z([1, 2, 2, 3]), z([1, 2, 2, 3]), z([4])),
    "lpipsDistance: shapes [1,2,2,3] and [1,2,2,3] with 4 weights do not fit",
  ],
  [
    "lpipsMap",
    () => t.lpipsMap(z([1, 2, 2, 3]), z([1, 2, 1, 3]), z([3])),
    "lpipsMap: shapes [1,2,2,3] and [1,2,1,3] with 3 weights do not fit",
  ],
  [
    "adamStep",
    () => t.adamStep(z([3]), z([2]), z([3]), z([3]), { lr: 1, beta1: 0, beta2: 0, eps: 1, step: 1 }),
    "adamStep: shape [2] does not fit the parameter's [3]",
  ],
  ["adamStep", () => adam({ lr: wrong(undefined) }), "adamStep: lr is undefined, expected a number"],
  ["adamStep", () => adam({ lr: NaN }), "adamStep: lr is NaN, expected a number"],
  ["adamStep", () => adam({ beta1: 1 }), "adamStep: beta1 is 1, expected a number from 0 to below 1"],
  ["adamStep", () => adam({ step: 0 }), "adamStep: step is 0, expected a whole number >= 1"],
  [
    "Random",
    () => new t.Random(1).integer(0),
    "Random.integer: the limit is 0, expected a whole number >= 1",
  ],
  [
    "Random",
    () => new t.Random(1).shuffle(-1),
    "Random.shuffle: the number is -1, expected a whole number >= 0",
  ],
  [
    "Random",
    () => new t.Random(1).uniform([1], 0, wrong("1")),
    'Random.uniform: high is "1", expected a number',
  ],
  [
    "Random",
    () => new t.Random(1).normal([1], 0, -1),
    "Random.normal: the standard deviation is -1, expected a number",
  ],
  [
    "Random",
    () => t.Random.from(wrong({ seed: 1 })),
    "Random.from: counter is undefined, expected a whole number",
  ],
  ["Random", () => new t.Random(-1), "Random: seed -1 is not a whole number >= 0"],
  ["Random", () => new t.Random(0.5), "Random: seed 0.5 is not a whole number >= 0"],
  ["backward", () => t.backward(z([1])), "backward: no output depends on a tensor with requiresGrad"],
  ["backward", () => t.backward(wrong(1)), "backward: got 1, expected a list of tensors, such as [loss]"],
  [
    "backward",
    () => t.backward(z([1]), wrong(z([1]))),
    "backward: got Tensor [1] f32 on cpu: 0, expected a list of tensors",
  ],
  ["backward", () => t.backward([z([1])], [null, null]), "backward: 2 gradients for 1 outputs"],
  [
    "grad",
    () => t.grad(wrong(z([1])), [z([1])]),
    "grad: got Tensor [1] f32 on cpu: 0, expected a list of tensors, such as [loss]",
  ],
  [
    "grad",
    () => t.grad([z([1])], wrong(z([1]))),
    "grad: the inputs are Tensor [1] f32 on cpu: 0, expected a list of tensors",
  ],
  [
    "grad",
    () => t.grad([], [], wrong({ keepGraph: true })),
    'grad: there is no option "keepGraph", use gradOutputs or',
  ],
  [
    "checkpoint",
    () => t.checkpoint(() => wrong(1), z([1])),
    "checkpoint: what the function returns: expected a tensor, got 1",
  ],
  ["record", () => t.record("mine", wrong(1), [], [], () => []), "record: expected a tensor, got 1"],
  [
    "record",
    () => t.record("mine", z([1]), wrong(z([1])), [], () => []),
    /^record: got Tensor \[1\] f32 on cpu: 0, \[\] and .* for mine, expected a list of inputs/,
  ],
  [
    "checkpoint",
    () => t.checkpoint(wrong(undefined), z([1])),
    "checkpoint: fn is undefined, expected a function",
  ],
  ["checkpoint", () => t.checkpoint((x) => x, wrong([z([1])])), "checkpoint: expected a tensor, got ["],
  [
    "record",
    () => t.record(wrong(undefined), z([1]), [], [], () => []),
    "record: name is undefined, expected a string",
  ],
  [
    "record",
    () => t.record("mine", z([1]), [wrong(undefined)], [], () => []),
    "record: an input: expected a tensor, got undefined",
  ],
  [
    "record",
    () => t.record("mine", z([1]), [null], [wrong(3)], () => []),
    "record: a value to save: expected a tensor, got 3",
  ],
  [
    "record",
    () => t.record("mine", z([1]), [null], [], () => [null], wrong(z([1]))),
    "record: recompute is Tensor [1] f32 on cpu: 0, expected a function, or null",
  ],
  ...[
    () => wrong(undefined),
    (g: t.Tensor) => wrong(g),
    () => wrong(Promise.resolve([])),
    () => [],
    () => [wrong(3)],
    () => [wrong(undefined)],
  ].map((vjp) =>
    [
      "record",
      () => {
        const x = t.tensor([1], [1], { requiresGrad: true });
        t.backward(t.record("mine", t.noGrad(() => x.mul(2)), [x], [], vjp));
      },
      /^backward: the vjp of mine returned .*, expected a list with one gradient, or null, for each of its 1 inputs$/,
    ] as [string, () => unknown, RegExp]
  ),
  ["mul", () => z([1]).mul(wrong(undefined)), "mul: expected a tensor, got undefined"],
];

const asynchronous: [string, () => Promise<unknown>, string][] = [
  ["item", () => z([2, 3]).item(), "item: the tensor has 6 elements (shape [2,3])"],
  ["floats", () => ints(1).floats(), "floats: the tensor is i32, use ints()"],
  ["ints", () => z([1]).ints(), "ints: the tensor is f32, use floats()"],
  [
    "device",
    () => t.device("gpu" as t.DeviceName),
    'device: there is no device "gpu", use "cpu", "webgpu", "auto" or "gpujs"',
  ],
  ["device", () => t.device(wrong("constructor")), 'device: there is no device "constructor", use "cpu"'],
  ["device", () => t.device(wrong(undefined)), 'device: there is no device undefined, use "cpu"'],
  [
    "device",
    () => t.device("cpu", wrong({ exactly: true })),
    'device: there is no option "exactly", use exact',
  ],
  ["device", () => t.device("cpu", wrong({ exact: "no" })), 'device: exact is "no", expected true or false'],
];

/** Runs `fn` with a parameter that belongs to no scope. An error must not leave it with a gradient, or retain its memory. */
async function withParameter(fn: (p: t.Tensor) => void): Promise<void> {
  const p = t.tensor([1, 2], [2], { requiresGrad: true });
  try {
    await t.asyncScope(() => Promise.resolve(fn(p)));
  } finally {
    p.dispose();
  }
}

const autograd: [string, (p: t.Tensor) => void, string][] = [
  [
    "an output of several numbers",
    (p) => t.backward(p.mul(2)),
    "backward: the output has shape [2]; give its gradient, or reduce it to one number",
  ],
  [
    "a gradient of another shape",
    (p) => t.backward(p.mul(2), [t.ones([3])]),
    "backward: a gradient of shape [3] arrived at a value of shape [2]",
  ],
  [
    "the same graph twice",
    (p) => {
      const loss = p.square().sum();
      t.grad([loss], [p])[0].dispose();
      t.backward(loss);
    },
    "backward: the graph of sum was freed by an earlier backward() or grad(): compute the output again",
  ],
  [
    "backward twice",
    (p) => {
      const loss = p.square().sum();
      t.backward(loss);
      p.grad!.dispose();
      p.grad = null;
      t.backward(loss);
    },
    "or add up losses that share it and call backward() once; grad() keeps it with retainGraph: true",
  ],
  [
    "a saved value that was overwritten",
    (p) => {
      const loss = p.square().sum();
      p.write(Float32Array.of(3));
      t.backward(loss);
    },
    "backward: a saved tensor of shape [2] was overwritten in place before backward used it",
  ],
  [
    "an input that is not used",
    (p) => t.grad([p.square().sum()], [t.tensor([1], [1], { requiresGrad: true })]),
    "grad: the outputs do not depend on input 0 (shape [1])",
  ],
];

describe("error messages", () => {
  for (const [name, call, message] of synchronous) {
    test(`${name}: ${message}`, () =>
      expectNoLeak(() => {
        expect(() => t.scope(call)).toThrow(message);
        return Promise.resolve();
      }));
  }
  for (const [name, call, message] of asynchronous) {
    test(`${name}: ${message}`, () =>
      expectNoLeak(async () => {
        await expect(t.asyncScope(call)).rejects.toThrow(message);
      }));
  }
  for (const [name, call, message] of autograd) {
    test(`${name}: ${message}`, async () => {
      await expect(withParameter(call)).rejects.toThrow(message);
    });
  }

  test("after an error the library still works", async () => {
    expect(t.isGradEnabled()).toBe(true);
    await withParameter((p) => {
      t.backward(p.square().sum());
      p.grad!.dispose();
      p.grad = null;
    });
  });
});
