// The LPIPS distance of feature maps, fused into one pass over memory.
import type { Tensor } from "../array.ts";
import { record } from "../tape.ts";
import type { Shape } from "../backends/buffer.ts";
import { checkFloats } from "../operands.ts";
import { sizeOf } from "../shape.ts";
import { disposeCopies, plain } from "./broadcast.ts";
import { mean } from "./reduce.ts";

/**
 * The LPIPS distance of two feature maps [B, H, W, C] at each pixel (Zhang et al. 2018), as [B, H, W]: the features are divided
 * by their length, and the squared differences are weighted by channel [C] and summed over channels.
 * Where a feature vector is zero, its gradient is 0 (the textbook formula gives NaN).
 * @throws if the shapes differ, or there is not one weight for each channel
 */
export function lpipsMap(a: Tensor, b: Tensor, weight: Tensor): Tensor {
  return distances("lpipsMap", a, b, weight, a.shape.slice(0, -1));
}

/**
 * The LPIPS distance of two feature maps [B, H, W, C], as [B]: `lpipsMap`, averaged over pixels.
 * @throws if the shapes differ, or there is not one weight for each channel
 */
export function lpipsDistance(a: Tensor, b: Tensor, weight: Tensor): Tensor {
  const pixels = distances("lpipsDistance", a, b, weight, [a.shape[0], sizeOf(a.shape.slice(1, -1))]);
  const distance = mean(pixels, 1);
  pixels.dispose();
  return distance;
}

/** The distance at each pixel in a shape that has one number for each. */
function distances(name: string, a: Tensor, b: Tensor, weight: Tensor, shape: Shape): Tensor {
  checkFloats(name, a, b, weight);
  if (`${a.shape}` !== `${b.shape}` || weight.size !== a.shape[a.ndim - 1]) {
    throw new Error(
      `${name}: shapes [${a.shape}] and [${b.shape}] with ${weight.size} weights do not fit`,
    );
  }
  const channels = weight.size, pixels = sizeOf(a.shape.slice(0, -1));
  const [pa, pb, pw] = [a, b, weight].map(plain);
  const out = a.like(shape, "f32");
  const { backend } = a;
  backend.run("lpipsDistance", {
    a: pa.slot,
    b: pb.slot,
    weight: pw.slot,
    out: out.slot,
    pixels,
    channels,
  });
  disposeCopies([pa, pb, pw], [a, b, weight]);
  return record(name, out, [a, b], [a, b, weight], (g, [a, b, weight], needs) => {
    const side = (x: Tensor, y: Tensor) => {
      const gx = x.like(x.shape);
      backend.run("lpipsDistanceGrad", {
        a: plain(x).slot,
        b: plain(y).slot,
        weight: plain(weight).slot,
        g: plain(g).slot,
        out: gx.slot,
        pixels,
        channels,
      });
      return gx;
    };
    return [needs[0] ? side(a, b) : null, needs[1] ? side(b, a) : null];
  });
}
