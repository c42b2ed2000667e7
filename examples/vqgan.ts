// A whole VQGAN with its training in one file, to be read from top to bottom. It uses the tensors of Tessera and none of its
// networks: what nn/ and train/ do with more care for memory and old files is written here as plainly as possible. The book
// (docs/book/) explains each part.
//   deno run -A examples/vqgan.ts [steps]      (or: bun examples/vqgan.ts [steps])
// It draws cartoon faces of 64x64 pixels, and learns to turn each one into 8x8 tokens, numbers from 0 to 255, and to draw
// it again from its tokens. It writes vqgan.png, after two to three minutes on two free cores in Deno (233 s of processor
// time; in Bun about 350 s), and prints the means over 60 steps. Expect about:
//   step  60: l1 0.34, 85 of 256 codes in each batch       step  720: l1 0.14, 199 codes: areas are right, edges blurred
//   step 240: l1 0.19, 186 codes                           step  780: l1 0.15: the GAN has started, l1 rises
//   step 480: l1 0.16, 195 codes                           step 1200: l1 0.14, discriminator 0.91: crisp, partly invented
import process from "node:process";
import { asyncScope, backward, grad, noGrad, Random, scope, Tensor, tensor, zeros } from "../mod.ts";
import { adamStep, attention, batchNorm, conv2d, embedding, groupNorm, nearestCode, ones } from "../mod.ts";
import { drawCartoonFace, grid, savePng, toFloats, tokenGrid, toPictures } from "../mod.ts";

const STEPS = Number(process.argv[2] ?? 1200);
const GAN_FROM = Math.round(0.6 * STEPS); // until this step the autoencoder learns alone
const SIZE = 64, BATCH = 8, CODES = 256, CHANNELS = 16, RATE = 1e-3;
const random = new Random(1);

// -------------------------------------------------------------------------------------------- 1. Learnable numbers

/** The parameters of a network. Adam keeps two averages of each one's gradient: of its value and of its square. */
class Parameters {
  readonly #all: { p: Tensor; mean: Tensor; square: Tensor }[] = [];
  #step = 0;

  add(p: Tensor): Tensor {
    p.requiresGrad = true;
    this.#all.push({ p, mean: zeros(p.shape), square: zeros(p.shape) });
    return p;
  }

  /** With false, `backward` computes no gradients for these parameters. It still passes through the layers that use them. */
  learn(on: boolean): void {
    for (const { p } of this.#all) p.requiresGrad = on;
  }

  /** Moves each parameter against its gradient. */
  update(lr: number): void {
    this.#step++;
    for (const { p, mean, square } of this.#all) {
      adamStep(p, p.grad!, mean, square, { lr, beta1: 0.5, beta2: 0.9, eps: 1e-8, step: this.#step });
      p.grad!.dispose();
      p.grad = null;
    }
  }
}

// ------------------------------------------------------------------------------------------------------- 2. Layers

type Layer = (x: Tensor) => Tensor;

/** Layers one after another. The scope frees what lies between them, except what `backward` will need. */
const chain = (...layers: Layer[]): Layer => (x) => scope(() => layers.reduce((at, layer) => layer(at), x));

/** A convolution: each output pixel is a weighted sum over a window of size x size input pixels. */
function conv(net: Parameters, from: number, to: number, size: number, options = {}): Layer {
  const bound = 1 / Math.sqrt(from * size * size); // torch's choice, which keeps values from growing layer by layer
  const weight = net.add(random.uniform([to, from, size, size], -bound, bound));
  const bias = net.add(random.uniform([to], -bound, bound));
  return (x) => conv2d(x, weight, bias, options);
}

/** Halves height and width. */
const down = (net: Parameters, from: number, to: number) => conv(net, from, to, 4, { stride: 2, padding: 1 });

/** Doubles height and width: each pixel is copied to 2x2, and a convolution smooths the steps. */
const up = (net: Parameters, from: number, to: number) => conv(net, from, to, 3, { upsample: 2, padding: 1 });

/** Brings each of 8 groups of channels to mean 0 and variance 1, and then applies swish, t * sigmoid(t). */
function normSwish(net: Parameters, channels: number): Layer {
  const weight = net.add(ones([channels])), bias = net.add(zeros([channels]));
  return (x) => groupNorm(x, weight, bias, { groups: 8, swish: true });
}

/** x + f(x): the block only learns what to change, and gradients pass through the sum as they are. */
function residual(net: Parameters, channels: number): Layer {
  const half = () => chain(normSwish(net, channels), conv(net, channels, channels, 3, { padding: 1 }));
  const f = chain(half(), half());
  return (x) => scope(() => x.add(f(x)));
}

/** Each pixel takes something from all others, so that both eyes can agree. This is affordable at 8x8 pixels. */
function attend(net: Parameters, channels: number): Layer {
  const norm = normSwish(net, channels);
  const [q, k, v, out] = [1, 2, 3, 4].map(() => conv(net, channels, channels, 1));
  return (x) =>
    scope(() => {
      const n = norm(x), [batch, height, width] = x.shape;
      const [queries, keys, values] = [q, k, v].map((f) => f(n).reshape(batch, height * width, channels));
      return x.add(out(attention(queries, keys, values).reshape(batch, height, width, channels)));
    });
}

// ---------------------------------------------------------------------------------------------- 3. The autoencoder

const ae = new Parameters();

/** Images [B, 64, 64, 3] to vectors [B, 8, 8, 16]: fewer and fewer pixels with more and more channels. */
const encoder = chain(
  conv(ae, 3, 32, 3, { padding: 1 }),
  chain(down(ae, 32, 32), residual(ae, 32)),
  chain(down(ae, 32, 64), residual(ae, 64)),
  chain(down(ae, 64, 128), residual(ae, 128), attend(ae, 128), residual(ae, 128)),
  chain(normSwish(ae, 128), conv(ae, 128, CHANNELS, 1)),
);

/** The way back, up to the last layer. That one stands alone because the weight of the GAN is measured at it. */
const body = chain(
  conv(ae, CHANNELS, 128, 1),
  chain(residual(ae, 128), attend(ae, 128), residual(ae, 128)),
  chain(up(ae, 128, 64), residual(ae, 64)),
  chain(up(ae, 64, 32), residual(ae, 32)),
  chain(up(ae, 32, 32), normSwish(ae, 32)),
);
const lastWeight = ae.add(random.uniform([3, 32, 3, 3], -0.06, 0.06));
const decoder: Layer = (z) => scope(() => conv2d(body(z), lastWeight, null, { padding: 1 }));

// ------------------------------------------------------------------------------------------------ 4. The quantizer

const codebook = ae.add(zeros([CODES, CHANNELS])); // the first step fills it
const lastUse = new Int32Array(CODES); // the step in which each code was used last

/** The token of each vector of z [B, h, w, 16]: the number of the nearest code. */
const tokensOf = (z: Tensor): Tensor =>
  scope(() =>
    nearestCode(z.detach().reshape(z.size / CHANNELS, CHANNELS), codebook.detach()).reshape(
      ...z.shape.slice(0, 3),
    )
  );

/** The codes of the tokens instead of z, and the loss that brings codes to their vectors, and vectors to their codes. */
function quantize(z: Tensor, tokens: Tensor): { quantized: Tensor; loss: Tensor } {
  return scope(() => {
    const codes = embedding(tokens, codebook);
    const codesToVectors = codes.sub(z.detach()).square().mean();
    const vectorsToCodes = codes.detach().sub(z).square().mean();
    // A choice has no derivative. This sum has the value of the code and the derivative of z ("straight-through").
    const quantized = z.add(codes.sub(z).detach());
    return { quantized, loss: codesToVectors.add(vectorsToCodes.mul(0.25)) };
  });
}

/** Moves codes that 20 steps did not use to vectors of this batch. Otherwise most codes are soon never nearest again. */
async function restartDeadCodes(z: Tensor, step: number): Promise<void> {
  for (const token of await tokensOf(z).ints()) lastUse[token] = step;
  const vectors = await z.floats();
  for (let code = 0; code < CODES; code++) {
    if (step > 0 && step - lastUse[code] < 20) continue;
    const start = CHANNELS * random.integer(vectors.length / CHANNELS);
    codebook.write(vectors.subarray(start, start + CHANNELS), code * CHANNELS);
    lastUse[code] = step;
  }
}

// -------------------------------------------------------------------------------------------- 5. The discriminator

const critic = new Parameters();
const leaky: Layer = (x) => x.maximum(x.mul(0.2)); // leaky ReLU
const [scale, shift] = [critic.add(ones([64])), critic.add(zeros([64]))];

/** Images to [B, 15, 15, 1]: for each patch of 22x22 pixels, a number that is high if the patch looks real. */
const discriminator = chain(
  chain(conv(critic, 3, 32, 4, { stride: 2, padding: 1 }), leaky),
  chain(conv(critic, 32, 64, 4, { stride: 2, padding: 1 }), (x) => leaky(batchNorm(x, scale, shift).out)),
  conv(critic, 64, 1, 4, { padding: 1 }),
);

// ----------------------------------------------------------------------------------------------------- 6. One step

const length = (t: Tensor): Tensor => t.square().sum().sqrt();

/** Lets both networks learn once from images [B, 64, 64, 3], and returns the terms of their losses. */
async function learn(images: Tensor, step: number): Promise<Record<string, number>> {
  const rate = RATE * Math.min(1, 2 - 2 * step / STEPS); // falls to 0 in the second half
  const z = encoder(images);
  if (step < GAN_FROM) await restartDeadCodes(z, step);
  const tokens = tokensOf(z), { quantized, loss: codebookLoss } = quantize(z, tokens);
  const made = decoder(quantized);
  const l1 = made.sub(images).abs().mean();
  const logs: Record<string, Tensor> = { l1, codebook: codebookLoss };
  let total = l1.add(codebookLoss);
  if (step >= GAN_FROM) {
    critic.learn(false);
    const gan = discriminator(made).mean().neg(); // low if the discriminator takes the pictures for real
    // The weight of the GAN makes its gradient 0.4 times as long as that of the pixels, measured at the last layer.
    const [pixels] = grad([l1], [lastWeight], { retainGraph: true });
    const [judged] = grad([gan], [lastWeight], { retainGraph: true });
    logs.weight = noGrad(() => length(pixels).div(length(judged).add(1e-4)).mul(0.4));
    total = total.add(gan.mul(logs.weight));
  }
  backward(total);
  ae.update(rate);
  if (step >= GAN_FROM) {
    critic.learn(true);
    const real = discriminator(images), fake = discriminator(made.detach());
    // The hinge loss asks for 1 or more where a picture is real, and for -1 or less where it was made.
    logs.discriminator = real.neg().add(1).relu().mean().add(fake.add(1).relu().mean()).mul(0.5);
    backward(logs.discriminator);
    critic.update(rate);
  }
  const values: Record<string, number> = { codes: new Set(await tokens.ints()).size };
  for (const [name, t] of Object.entries(logs)) values[name] = await t.item();
  return values;
}

// -------------------------------------------------------------------------------------------------- 7. The training

const drawn = new Map<number, Float32Array>();

/** The cartoon faces of some seeds, [B, 64, 64, 3]. */
async function faces(seeds: number[]): Promise<Tensor> {
  const all: number[] = [];
  for (const seed of seeds) {
    if (!drawn.has(seed)) drawn.set(seed, toFloats(await drawCartoonFace(seed, SIZE)));
    all.push(...drawn.get(seed)!);
  }
  return tensor(all, [seeds.length, SIZE, SIZE, 3]);
}

const unseen = await faces([1001, 1002, 1003, 1004, 1005, 1006]); // training does not use them
const redraw = () => noGrad(() => decoder(embedding(tokensOf(encoder(unseen)), codebook)).clamp(-1, 1));
const sheets = [unseen];
let recent: Record<string, number>[] = [];
for (let step = 0; step < STEPS; step++) {
  if (step === GAN_FROM) sheets.push(redraw());
  const seeds = Array.from({ length: BATCH }, () => random.integer(500));
  recent.push(await asyncScope(async () => await learn(await faces(seeds), step)));
  if ((step + 1) % 60 !== 0 && ![GAN_FROM, STEPS].includes(step + 1)) continue;
  const means = Object.keys(recent[0]).map((name) => {
    return `${name} ${(recent.reduce((sum, each) => sum + each[name], 0) / recent.length).toFixed(3)}`;
  });
  console.log(`step ${step + 1}: ${means.join(", ")}`);
  recent = [];
}
sheets.push(redraw());
const rows = await Promise.all(sheets.map(async (images) => toPictures(await images.floats(), images.shape)));
const tokens = await noGrad(() => tokensOf(encoder(unseen))).ints();
rows.splice(
  1,
  0,
  await Promise.all(
    rows[0].map((_, i) => tokenGrid(tokens.subarray(64 * i, 64 * i + 64), [8, 8], { tile: 8 })),
  ),
);
await savePng("vqgan.png", grid(rows.flat(), { columns: 6 }));
console.log(
  "vqgan.png: faces that it has not seen, their tokens, and what it draws from these before and after the GAN",
);
