// What a wrong call is told: every message of the tensor library once. Each names the operation and the numbers.
import { describe, expect, test } from "bun:test";
import * as t from "../../src/index.ts";
import { expectNoLeak } from "../support/expectations.ts";

const z = t.zeros;
const ints = (...values: number[]) => t.tensor(Int32Array.from(values));

/** What is called, and what the answer must say. */
const synchronous: [string, () => unknown, string][] = [
  ["tensor", () => t.tensor([1, 2, 3], [2, 2]), "tensor: 3 values do not fill shape [2,2] (4 elements)"],
  ["shape", () => z([2, 1.5]), "shape [2,1.5] has a size that is not a whole number"],
  ["shape", () => z([-1]), "shape [-1] has a size that is not a whole number"],
  ["write", () => z([3]).write(Float32Array.of(1, 2), 2), "write: 2 values at 2 do not fit shape [3]"],
  [
    "write",
    () => z([2, 3]).permute(1, 0).write(Float32Array.of(1)),
    "write: the tensor is a view (strides [1,3]); write to its base",
  ],
  ["assign", () => z([3]).assign(z([2])), "assign: shape [2] does not fit shape [3]"],
  [
    "assign",
    () => z([2, 3]).permute(1, 0).assign(z([6])),
    "assign: the tensor is a view (strides [1,3]); write to its base",
  ],
  ["memory", () => z([2 ** 30, 2]), "out of memory: 8192 MiB asked"],
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
  ["exp", () => ints(1).exp(), "exp: needs a tensor of floats, this one is i32 (shape [1])"],
  ["sum", () => z([2, 3]).sum(2), "sum: axis 2 is not in shape [2,3]"],
  ["mean", () => z([2, 3]).mean([0, -3]), "axis -3 is not in shape [2,3]"],
  ["reshape", () => z([2, 3]).reshape(4, -1), "reshape: shape [2,3] (6 elements) does not fit [4,-1]"],
  ["permute", () => z([2, 3]).permute(0, 0), "permute: [0,0] is not an order of the 2 axes of shape [2,3]"],
  [
    "slice",
    () => z([2, 3]).slice([0, 1], [2, 4]),
    "slice: 1 to 4 is not within size 3 of axis 1 (shape [2,3])",
  ],
  ["expand", () => z([2, 3]).expand([3]), "expand: shape [2,3] does not stretch to [3]"],
  [
    "concat",
    () => t.concat([z([2, 3]), z([3, 3])], 1),
    "concat: shape [3,3] does not fit [2,3] along axis 1",
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
    () => t.conv2d(z([1, 32, 32, 2048]), z([1, 2048, 32, 32]), null),
    "conv2d: a filter of 32,32 x 2048 channels is larger than the scratch memory",
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
  [
    "maxPool2d",
    () => t.maxPool2d(z([1, 2, 2, 1]), { size: 3, stride: 2 }),
    "maxPool2d: a window of 3 does not fit shape [1,2,2,1]",
  ],
  [
    "maxPool2d",
    () => t.maxPool2d(z([2, 2, 1]), { size: 2, stride: 2 }),
    "maxPool2d: needs pictures [B,H,W,C], got shape [2,2,1]",
  ],
  [
    "avgPool2d",
    () => t.avgPool2d(z([2, 2, 1]), { size: 2, stride: 2 }),
    "avgPool2d: needs pictures [B,H,W,C], got shape [2,2,1]",
  ],
  [
    "avgPool2d",
    () => t.avgPool2d(z([1, 4, 4, 1]), { size: 2, stride: 0 }),
    "avgPool2d: size 2 and stride 0 must be whole numbers of at least 1",
  ],
  [
    "avgPool2d",
    () => t.avgPool2d(z([1, 4, 4, 1]), { size: 3, stride: 1, padding: 2 }),
    "avgPool2d: a padding of 2 for windows of 3: use a whole number from 0 to 1",
  ],
  [
    "avgPool2d",
    () => t.avgPool2d(z([1, 6, 2, 1]), { size: 5, stride: 1, padding: 1 }),
    "avgPool2d: a window of 5 does not fit shape [1,6,2,1] with a padding of 1",
  ],
  [
    "nearestCode",
    () => t.nearestCode(z([2, 3]), z([5, 4])),
    "nearestCode: z [2,3] and codebook [5,4] must be [N, C] and [K, C]",
  ],
  ["embedding", () => t.embedding(z([2]), z([5, 4])), "embedding: indices must be i32, these are f32"],
  [
    "lpipsDistance",
    () => t.lpipsDistance(z([1, 2, 2, 3]), z([1, 2, 2, 3]), z([4])),
    "lpipsDistance: shapes [1,2,2,3] and [1,2,2,3] with 4 weights do not fit",
  ],
  [
    "adamStep",
    () => t.adamStep(z([3]), z([2]), z([3]), z([3]), { lr: 1, beta1: 0, beta2: 0, eps: 1, step: 1 }),
    "adamStep: shape [2] does not fit the parameter's [3]",
  ],
  ["Random", () => new t.Random(-1), "Random: seed -1 is not a whole number >= 0"],
  ["Random", () => new t.Random(0.5), "Random: seed 0.5 is not a whole number >= 0"],
  ["backward", () => t.backward(z([1])), "backward: no output depends on a tensor with requiresGrad"],
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
];

/** A parameter outside any scope: what fails must not leave it with a gradient or hold on to its memory. */
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
    "was already freed; pass retainGraph to use it twice",
  ],
  [
    "a saved value written over",
    (p) => {
      const loss = p.square().sum();
      p.write(Float32Array.of(3));
      t.backward(loss);
    },
    "backward: a saved tensor of shape [2] was overwritten in place before backward used it",
  ],
  [
    "an input that plays no part",
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

  test("after an error the library works on", async () => {
    expect(t.isGradEnabled()).toBe(true);
    await withParameter((p) => {
      t.backward(p.square().sum());
      p.grad!.dispose();
      p.grad = null;
    });
  });
});
