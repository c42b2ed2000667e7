// The notebook of chapter 7: `deno task notebooks 7-discriminator` makes 7-discriminator.ipynb of this file.

// %% [markdown]
/*
# 7. The discriminator

*A second network learns what is wrong with the pictures.* This notebook belongs to
[chapter 7](../book/7-discriminator.md). A decoder that only roughly knows where things are will draw a blur,
until a second network teaches it that real pictures are not blurred.
*/

// %%
import {
  Adam,
  backward,
  conv2d,
  embedding,
  grad,
  leakyRelu,
  noGrad,
  plotCurves,
  Random,
  scope,
} from "../../mod.ts";
import { type Tensor, tensor } from "../../mod.ts";

// %% [markdown]
/*
## The hinge loss

The discriminator D gives each patch a number, its logit. Real patches should get 1 or more, others −1 or
less; only what has not got there costs something. A D that knows nothing says 0 everywhere and pays ½ (1 + 1)
= 1. Remember this 1 when you read logs.
*/

// %%
const hinge = (real: Tensor, made: Tensor) =>
  real.neg().add(1).relu().mean().add(made.add(1).relu().mean()).mul(0.5);
for (const [real, made] of [[[0, 0], [0, 0]], [[0.5, 1.5], [-0.2, -1]], [[2, 3], [-4, -1]]]) {
  console.log(`real ${real}, made ${made}: ${(await hinge(tensor(real), tensor(made)).item()).toFixed(2)}`);
}

// %% [markdown]
/*
## Rings that nobody can place

The pictures are rings on a grey ground, 16×16 pixels, at random places. There are four tokens, one for each
quarter of the picture, so a token says where the ring is to within a few pixels. Here are eight pictures with
the same token.
*/

// %%
const size = 16, batch = 24;

/** Rings and the token of each: the number of the quarter that its centre is in. */
function rings(random: Random, count: number, quarter?: number): { images: Tensor; tokens: Tensor } {
  const pixels = new Float32Array(count * size * size), tokens = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    tokens[i] = quarter ?? random.integer(4);
    const [cx, cy] = [tokens[i] % 2, tokens[i] >> 1].map((half) => 3.5 + 6 * half + 3 * random.next());
    for (let at = 0; at < size * size; at++) {
      const distance = Math.hypot(at % size - cx, Math.floor(at / size) - cy);
      pixels[i * size * size + at] = Math.max(-0.6, 1 - 1.6 * Math.abs(distance - 2.7)) + 0.2;
    }
  }
  return { images: tensor(pixels, [count, size, size, 1]).clamp(-1, 1), tokens: tensor(tokens) };
}

rings(new Random(9), 8, 0).images;

// %% [markdown]
/*
The decoder is the simplest that there is: a table with one picture for each token, whose pixels are learnt.
The discriminator has three convolutions. This is a training step of VQGAN in small, with the adaptive weight
of equation (7): the GAN's gradient is scaled to the size of the reconstruction's, times `discWeight`.
*/

// %%
interface Log {
  reconstruction: number;
  discriminator: number;
  real: number;
  made: number;
}

const length = (t: Tensor) => t.square().sum().sqrt();

/** A table of pictures that learns from rings, with a discriminator if its weight is above 0. Shows itself while it learns. */
async function train(name: string, discWeight: number, steps: number): Promise<Log[]> {
  const random = new Random(2), table = random.normal([4, size * size], 0, 0.02), logs: Log[] = [];
  const filters = [[24, 1, 4, 4], [24, 24, 4, 4], [1, 24, 3, 3]].map((shape) => {
    const bound = 1 / Math.sqrt(shape[1] * shape[2] * shape[3]);
    return random.uniform(shape, -bound, bound);
  });
  const judge = (x: Tensor) => {
    const first = leakyRelu(conv2d(x, filters[0], null, { padding: 1 }));
    return conv2d(leakyRelu(conv2d(first, filters[1], null, { stride: 2, padding: 1 })), filters[2], null, {
      padding: 1,
    });
  };
  const learn = (on: boolean) => filters.forEach((filter) => filter.requiresGrad = on);
  table.requiresGrad = true;
  const decoder = new Adam(new Map([["table", table]]), { lr: 0.02 });
  const critic = new Adam(new Map(filters.map((filter, i) => [String(i), filter])), { lr: 0.004 });
  for (let step = 0; step <= steps; step++) {
    if (step % 30 === 0) {
      const pictures = table.detach().reshape(4, size, size, 1);
      await Deno.jupyter.display(pictures, { display_id: name, update: step > 0 });
    }
    const { images, tokens } = rings(random, batch);
    const { rec, dLoss, real, made } = scope(() => {
      const drawn = embedding(tokens, table).reshape(...images.shape);
      const rec = drawn.sub(images).square().mean();
      learn(false);
      const gan = judge(drawn).mean().neg();
      const [pixels] = grad([rec], [table], { retainGraph: true });
      const [judged] = grad([gan], [table], { retainGraph: true });
      const weight = noGrad(() => length(pixels).div(length(judged).add(1e-4)).clamp(0, 1e4).mul(discWeight));
      backward(rec.add(gan.mul(weight)));
      learn(true);
      const real = judge(images), made = judge(drawn.detach()), dLoss = hinge(real, made);
      backward(dLoss);
      return {
        rec: rec.detach(),
        dLoss: dLoss.detach(),
        real: real.detach().mean(),
        made: made.detach().mean(),
      };
    });
    for (const network of [decoder, critic]) {
      network.step();
      network.zeroGrad();
    }
    const [reconstruction, discriminator, a, b] = await Promise.all(
      [rec, dLoss, real, made].map((t) => t.item()),
    );
    logs.push({ reconstruction, discriminator, real: a, made: b });
    for (const t of [images, tokens, rec, dLoss, real, made]) t.dispose();
  }
  return logs;
}

// %% [markdown]
/*
## Experiment: with and without

First with weight 0: the discriminator watches and learns, but nobody listens to it. Expect four soft discs,
the mean of all rings with one token, and a discriminator that soon knows better: its loss falls to a quarter.
*/

// %%
const alone = await train("alone", 0, 270);
const last = (logs: Log[], key: keyof Log) => logs.slice(-40).reduce((sum, log) => sum + log[key], 0) / 40;
console.log(
  `squared error ${last(alone, "reconstruction").toFixed(3)}, loss of D ${
    last(alone, "discriminator").toFixed(2)
  }`,
);

// %% [markdown]
/*
Now the decoder has to convince it. Expect crisp rings, each at a place that was made up: the squared error is
about half as large again. The loss of D stays near 0.9: it can hardly tell.
*/

// %%
const judged = await train("judged", 1.5, 270);
console.log(
  `squared error ${last(judged, "reconstruction").toFixed(3)}, loss of D ${
    last(judged, "discriminator").toFixed(2)
  }`,
);
const curve = (name: string, logs: Log[], key: keyof Log) => ({
  name,
  steps: logs.map((_, i) => i),
  values: logs.map((log) => log[key]),
});
await plotCurves([
  {
    title: "Loss of the discriminator",
    series: [curve("nobody listens", alone, "discriminator"), curve("weight 1.5", judged, "discriminator")],
  },
  {
    title: "Squared error",
    series: [curve("alone", alone, "reconstruction"), curve("weight 1.5", judged, "reconstruction")],
  },
], { columns: 2, width: 960, height: 320 });

// %% [markdown]
/*
## Try next

- Weights of 0.3 and 10. At which does the ring begin to be a ring? What goes wrong at 10?
- Give D a learning rate ten times as high. What becomes of its loss, and of the rings?
- Train 1,000 steps and watch the rings. Do they stay where they are?

[Chapter 7](../book/7-discriminator.md) · [All notebooks](README.md) · next:
[The real checkpoint](8-checkpoint.ipynb)
*/
