// Compares each other device with the CPU on the layers of the model with their numbers of channels: outputs and all
// gradients. It also tests which of several equal maxima gets the gradient, and what happens when the device changes.
import { expect, test } from "bun:test";
import {
  asyncScope,
  conv2d,
  device,
  type DeviceName,
  grad,
  maxPool2d,
  Random,
  scope,
  tensor,
} from "../../../src/index.ts";
import { AttnBlock, Downsample, ResnetBlock, Upsample } from "../../../nn/blocks.ts";
import { BatchNorm2d, Conv2d, LeakyReLU, Sequential } from "../../../nn/layers.ts";
import type { Init } from "../../../nn/init.ts";
import type { Layer } from "../../../nn/module.ts";
import { describeDevices, others } from "../../support/devices.ts";
import { expectNoLeak } from "../../support/expectations.ts";
import { maxError } from "../../support/numbers.ts";

const layers: [name: string, make: (init: Init) => Layer, input: number[]][] = [
  ["residual block, 128 channels", (init) => new ResnetBlock(128, 128, init), [1, 16, 16, 128]],
  ["residual block, 128 to 256", (init) => new ResnetBlock(128, 256, init), [1, 8, 8, 128]],
  ["attention, 512 channels", (init) => new AttnBlock(512, init), [1, 8, 8, 512]],
  ["attention, 256 tokens", (init) => new AttnBlock(64, init), [1, 16, 16, 64]],
  ["downsample", (init) => new Downsample(128, init), [1, 16, 16, 128]],
  ["upsample", (init) => new Upsample(128, init), [1, 8, 8, 128]],
  [
    "discriminator layer of stride 2",
    (init) =>
      new Sequential([
        new Conv2d(64, 128, 4, init, { stride: 2, padding: 1, bias: false }),
        new BatchNorm2d(128, init),
        new LeakyReLU(),
      ]),
    [2, 16, 16, 64],
  ],
  [
    "discriminator layer of stride 1",
    (init) => new Conv2d(128, 256, 4, init, { padding: 1 }),
    [1, 8, 8, 128],
  ],
  // on GPUs, special kernels compute the weight gradients of these two
  ["decoder's last layer", (init) => new Conv2d(128, 3, 3, init, { padding: 1 }), [2, 9, 7, 128]],
  ["discriminator's last layer", (init) => new Conv2d(256, 1, 4, init, { padding: 1 }), [1, 15, 13, 256]],
];

/** The output and the gradients of the input and of every parameter, with the same weights and input on every device. */
async function results(name: DeviceName, make: (init: Init) => Layer, shape: number[]) {
  await device(name);
  const random = new Random(1), layer = make(random);
  const values = new Map<string, Float32Array>();
  await asyncScope(async () => {
    const x = random.normal(shape);
    x.requiresGrad = true;
    const out = layer.call(x), parameters = layer.namedParameters();
    const gradients = grad([out], [x, ...parameters.values()], { gradOutputs: [random.normal(out.shape)] });
    const names = ["input", ...parameters.keys()];
    values.set("output", await out.floats());
    for (const [i, g] of gradients.entries()) values.set(names[i], await g.floats());
  });
  layer.dispose();
  return values;
}

const largest = (values: Float32Array) => values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);

describeDevices("layers of the model beside the CPU", (each) => {
  for (const [name, make, shape] of layers) {
    test(name, () =>
      expectNoLeak(async () => {
        const wanted = await results("cpu", make, shape), found = await results(each, make, shape);
        expect([...found.keys()]).toEqual([...wanted.keys()]);
        for (const [key, values] of found) {
          // adding the same number to all scores does not change attention, so the gradient of k's bias is 0 except for
          // rounding
          const size = largest(wanted.get(key === "k.bias" ? "q.bias" : key)!);
          const error = maxError(values, wanted.get(key)!) / size;
          if (!(error < 1e-5)) throw new Error(`${key}: off by ${error} of the largest value`);
        }
      }));
  }
}, others);

describeDevices("max pooling", () => {
  test("gives the gradient to the first of equal maxima", () =>
    expectNoLeak(() =>
      asyncScope(async () => {
        const x = tensor([1, 1, 0, 1, 1, 1, 2, 2, 0, 0, 2, 2, 0, 0, 0, 0], [1, 4, 4, 1], {
          requiresGrad: true,
        });
        const g = tensor([1, 10, 100, 1000], [1, 2, 2, 1]);
        const [dx] = grad([maxPool2d(x, { size: 3, stride: 2, ceil: true })], [x], { gradOutputs: [g] });
        expect(await dx.floats()).toEqual(
          Float32Array.of(0, 0, 0, 0, 0, 0, 11, 0, 0, 0, 1100, 0, 0, 0, 0, 0),
        );
      })
    ));
});

describeDevices("tensors of two devices", (each) => {
  test("stay where they were made", () =>
    expectNoLeak(() =>
      asyncScope(async () => {
        await device("cpu");
        const x = tensor([-1, 0.5, 3], [3], { requiresGrad: true });
        await device(each);
        const [g] = grad([x.clamp(0, 1).maximum(0.25).slice([1], [3]).square().sum()], [x]);
        expect(await g.floats()).toEqual(Float32Array.of(0, 1, 0));
        expect(g.backend.name).toBe("cpu");
      })
    ));

  test("cannot be operands of one operation", () =>
    expectNoLeak(() =>
      asyncScope(async () => {
        await device("cpu");
        const x = tensor([1], [1, 1, 1, 1]);
        await device(each);
        const y = tensor([2], [1, 1, 1, 1]);
        expect(() => scope(() => x.mul(y))).toThrow("cpu: the tensor is on another device");
        expect(() => scope(() => y.mul(x))).toThrow(`${each}: the tensor is on another device`);
        expect(() => scope(() => conv2d(x, y, null))).toThrow("cpu: the tensor is on another device");
        expect(() => scope(() => conv2d(y, x, null))).toThrow(`${each}: the tensor is on another device`);
      })
    ));
}, others);
