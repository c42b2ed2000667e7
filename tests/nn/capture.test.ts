// Capturing intermediate values by path: feature maps equal those of layers run by hand, and attention weights give the
// output of the attention block.
import { expect, setDefaultTimeout, test } from "bun:test";
import { AttnBlock, ResnetBlock } from "../../nn/blocks.ts";
import { captureOutputs } from "../../nn/capture.ts";
import { chain } from "../../nn/module.ts";
import { VQGAN } from "../../nn/vqgan.ts";
import { asyncScope, backward, matmul, noGrad, Random, scope, type Tensor } from "../../src/index.ts";
import { takesStrips } from "../../src/ops/strips.ts";
import { finish } from "../../src/parts.ts";
import { expectNoLeak } from "../support/expectations.ts";
import { tinyConfig } from "../support/goldens.ts";
import { drawn, maxError } from "../support/numbers.ts";

setDefaultTimeout(60_000); // Bun gives a test five seconds, too few on a busy machine

const model = new VQGAN(tinyConfig, new Random(1));
const { encoder, decoder } = model;
const small = () => new Random(2).uniform([2, 32, 32, 3], -1, 1);

async function expectSame(a: Tensor | undefined, b: Tensor): Promise<void> {
  expect(a?.shape).toEqual(b.shape);
  expect(maxError(await a!.data(), await b.data())).toBe(0);
}

test("feature maps equal the layers run by hand", () =>
  expectNoLeak(() =>
    asyncScope(async () => {
      const images = small();
      const [level0, level1, level2] = encoder.down.map((level) => level.layers());
      const wanted: Record<string, Tensor> = noGrad(() => {
        const first = encoder.conv_in.call(images);
        const block = encoder.down[0].block[0].call(first);
        const down0 = finish(chain(first, level0));
        const down2 = finish(chain(finish(chain(down0, level1)), level2));
        const mid = encoder.mid.call(down2);
        const out = encoder.conv_out.call(encoder.norm_out.call(mid));
        return {
          "encoder.conv_in": first,
          "encoder.down.0.block.0": block,
          "encoder.down.0": down0,
          "encoder.down.2": down2,
          "encoder.down.2.attn.1": down2, // the last of its level's layers
          "encoder.mid": mid,
          "encoder.mid.attn_1": encoder.mid.attn_1!.call(encoder.mid.block_1.call(down2)),
          "encoder": out,
          "quant_conv": model.quant_conv.call(out),
        };
      });
      const { result, outputs } = captureOutputs(model, Object.keys(wanted), () => model.encode(images));
      expect([...outputs.keys()]).toEqual(Object.keys(wanted));
      for (const [path, t] of Object.entries(wanted)) await expectSame(outputs.get(path), t);
      await expectSame(result.indices, model.encode(images).indices);

      const latents = result.latents;
      const { outputs: decoded } = captureOutputs(
        decoder,
        ["mid.attn_1", "up.2", "conv_out"],
        () => model.decode(latents),
      );
      const made = noGrad(() => {
        const start = decoder.conv_in.call(model.post_quant_conv.call(latents));
        return {
          mid: decoder.mid.call(start),
          attn: decoder.mid.attn_1!.call(decoder.mid.block_1.call(start)),
        };
      });
      await expectSame(decoded.get("mid.attn_1"), made.attn);
      await expectSame(decoded.get("up.2"), noGrad(() => finish(chain(made.mid, decoder.up[2].layers()))));
      await expectSame(decoded.get("conv_out"), model.decode(latents));
    })
  ));

/** proj_out(weights v) + x: the output of an attention block, computed from its weights. */
function attended(block: AttnBlock, x: Tensor, weights: Tensor): Tensor {
  const [batch, height, width, channels] = x.shape;
  const v = block.v.call(block.norm.call(x)).reshape(batch, height * width, channels);
  return block.proj_out.call(matmul(weights, v).reshape(...x.shape), x);
}

// with 48x48 pixels attention() holds only the weights of some queries at a time
for (const side of [8, 48]) {
  test(`attention weights of ${side}x${side} pixels`, () =>
    expectNoLeak(async () => {
      const block = new AttnBlock(32, new Random(3));
      await asyncScope(async () => {
        const x = drawn("x", [2, side, side, 32]);
        const { result, outputs } = captureOutputs(block, ["weights"], () => noGrad(() => block.call(x)));
        const weights = outputs.get("weights")!;
        expect(weights.shape).toEqual([2, side ** 2, side ** 2]);
        const sums = await weights.sum([2]).floats();
        expect(maxError(sums, new Float32Array(sums.length).fill(1))).toBeLessThan(2e-6);
        const again = noGrad(() => attended(block, x, weights));
        expect(maxError(await again.floats(), await result.floats())).toBeLessThan(1e-6);
        await expectSame(result, noGrad(() => block.call(x)));
      });
      block.dispose();
    }));
}

test("the inside of a block that is computed in strips", () =>
  expectNoLeak(async () => {
    const block = new ResnetBlock(32, 32, new Random(3));
    await asyncScope(async () => {
      const x = drawn("x", [1, 516, 512, 32]);
      expect(noGrad(() => takesStrips(x))).toBe(true);
      const paths = ["norm1", "conv1", "norm2"];
      const { result, outputs } = captureOutputs(block, paths, () => noGrad(() => block.call(x)));
      let at = x;
      for (const layer of [block.norm1, block.conv1, block.norm2]) at = noGrad(() => layer.call(at));
      await expectSame(outputs.get("norm2"), at);
      await expectSame(result, noGrad(() => block.call(x))); // in strips
    });
    block.dispose();
  }));

test("with gradients on, a loss can be computed from what was captured", () =>
  expectNoLeak(async () => {
    const weight = encoder.conv_in.weight;
    const gradient = async (loss: (images: Tensor) => Tensor) => {
      await asyncScope(() => Promise.resolve(backward(loss(small()))));
      const values = await weight.grad!.floats();
      model.zeroGrad();
      return values;
    };
    const paths = ["encoder.mid", "encoder.mid.attn_1.weights"];
    const captured = await gradient((images) => {
      const { outputs } = captureOutputs(model, paths, () => model.forward(images));
      return outputs.get("encoder.mid")!.square().mean();
    });
    const byHand = await gradient((images) => {
      const down = finish(
        chain(encoder.conv_in.call(images), encoder.down.flatMap((level) => level.layers())),
      );
      return encoder.mid.call(down).square().mean();
    });
    expect(captured).toEqual(byHand);
    const entropy = await gradient((images) => {
      const { outputs } = captureOutputs(model, paths, () => model.forward(images));
      return outputs.get("encoder.mid.attn_1.weights")!.square().sum();
    });
    expect(entropy.some((g) => g !== 0)).toBe(true);
  }));

test("the last output of a layer that runs twice, and captures within captures", () =>
  expectNoLeak(() =>
    asyncScope(async () => {
      const block = new ResnetBlock(32, 32, new Random(3)), x = drawn("x", [1, 8, 8, 32]);
      const twice = () => noGrad(() => block.call(block.call(x)));
      const { result: inner, outputs: outer } = captureOutputs(block, ["norm1", "conv2"], () => {
        return captureOutputs(block, ["conv2"], twice);
      });
      await expectSame(outer.get("conv2"), inner.result);
      await expectSame(inner.outputs.get("conv2"), inner.result);
      await expectSame(outer.get("norm1"), noGrad(() => block.norm1.call(block.call(x))));
      block.dispose();
    })
  ));

test("jobs that overlap capture their own values", () =>
  expectNoLeak(() =>
    asyncScope(async () => {
      const jobs = [1, 2].map((seed) => {
        const images = new Random(seed).uniform([1, 16, 16, 3], -1, 1);
        return { images, wanted: noGrad(() => encoder.conv_in.call(images)) };
      });
      await Promise.all(jobs.map(async ({ images, wanted }) => {
        await images.data();
        const { outputs } = captureOutputs(model, ["encoder.conv_in"], () => model.encode(images));
        await expectSame(outputs.get("encoder.conv_in"), wanted);
      }));
    })
  ));

test("what cannot be captured throws, and leaves nothing behind", () =>
  expectNoLeak(() => {
    scope(() => {
      const images = small(), encode = () => model.encode(images);
      const says = (path: string, fn: () => unknown = encode) =>
        expect(() => captureOutputs(model, [path], fn));
      says("encoder.mid.attn1").toThrow(
        'there is no layer "encoder.mid.attn1"; "encoder.mid" has encoder.mid.block_1, encoder.mid.attn_1, encoder.mid.block_2',
      );
      says("encoder.down.3.block.0").toThrow(
        '"encoder" has encoder.conv_in, encoder.down.0, encoder.down.1, ',
      );
      says("encoders").toThrow("the model has encoder, decoder, quantize, quant_conv, post_quant_conv");
      says("encoder.conv_in.weight").toThrow('"encoder.conv_in" has no layers below it');
      says("quantize").toThrow('there is no layer "quantize"; "quantize" has quantize.embedding');
      says("decoder.mid").toThrow('"decoder.mid" did not run');
      says("encoder.mid", () => Promise.resolve(encode())).toThrow("fn is asynchronous");
      says("encoder.mid", () => {
        encode();
        throw new Error("half way");
      }).toThrow("half way");
    });
    return Promise.resolve();
  }));
