// Chapter 7: an edge whose place the tokens only roughly know, drawn by a table of 4 rows of 32 numbers (a decoder without
// layers). Trained on squared errors alone it draws a ramp; with a discriminator, something more like an edge.
import { Adam, backward, conv2d, embedding, grad, noGrad, type Picture, Random } from "../../../mod.ts";
import { scope, type Tensor, tensor } from "../../../mod.ts";
import { palette, Sketch } from "./sketch.ts";

const WIDTH = 32, TOKENS = 4, BATCH = 32;

/** The place of an edge, and the token for it: each token stands for 6 places. */
function drawEdges(random: Random): { tokens: Tensor; signals: Tensor } {
  const tokens = new Int32Array(BATCH), signals = new Float32Array(BATCH * WIDTH);
  for (let i = 0; i < BATCH; i++) {
    const place = 4 + random.integer(6 * TOKENS);
    tokens[i] = Math.floor((place - 4) / 6);
    for (let x = 0; x < WIDTH; x++) signals[i * WIDTH + x] = x < place ? -1 : 1;
  }
  return { tokens: tensor(tokens), signals: tensor(signals, [BATCH, 1, WIDTH, 1]) };
}

/** The parameters of a discriminator of three convolutions along the line, and the discriminator; a logit sees 11 numbers. */
function makeCritic(random: Random): { parameters: Map<string, Tensor>; judge: (x: Tensor) => Tensor } {
  const parameters = new Map<string, Tensor>();
  const sizes = [[1, 16, 5], [16, 16, 5], [16, 1, 3]] as const;
  const layers = sizes.map(([from, to, size], i) => {
    const bound = 1 / Math.sqrt(from * size);
    const weight = random.uniform([to, from, 1, size], -bound, bound);
    const bias = random.uniform([to], -bound, bound);
    parameters.set(`weight ${i}`, weight).set(`bias ${i}`, bias);
    return { weight, bias, padding: (size - 1) / 2 };
  });
  const judge = (x: Tensor) =>
    layers.reduce((at, { weight, bias, padding }, i) => {
      const out = conv2d(at, weight, bias, { padding: [0, 0, padding, padding] });
      return i === 2 ? out : out.maximum(out.mul(0.2));
    }, x);
  return { parameters, judge };
}

/** With false, `backward` computes no gradients for these parameters. */
function learn(parameters: ReadonlyMap<string, Tensor>, on: boolean): void {
  for (const p of parameters.values()) p.requiresGrad = on;
}

function update(optimizer: Adam, lr: number): void {
  optimizer.lr = lr;
  optimizer.step();
  optimizer.zeroGrad();
}

const length = (t: Tensor): Tensor => t.square().sum().sqrt();

/** What the table draws for each token after training, [4, 32]. */
export async function train(discWeight: number, steps: number): Promise<Float32Array> {
  const random = new Random(2), table = random.normal([TOKENS, WIDTH], 0, 0.02);
  table.requiresGrad = true;
  const { parameters, judge } = makeCritic(random);
  const decoder = new Adam(new Map([["table", table]]), { lr: 0 }), critic = new Adam(parameters, { lr: 0 });
  for (let step = 0; step < steps; step++) {
    const rate = 0.02 * Math.min(1, 2 - 2 * step / steps);
    scope(() => {
      const { tokens, signals } = drawEdges(random);
      const made = embedding(tokens, table).reshape(...signals.shape);
      const rec = made.sub(signals).square().mean();
      let total = rec;
      if (discWeight > 0) {
        learn(parameters, false);
        const gan = judge(made).mean().neg();
        const [pixels] = grad([rec], [table], { retainGraph: true });
        const [judged] = grad([gan], [table], { retainGraph: true });
        const weight = noGrad(() =>
          length(pixels).div(length(judged).add(1e-4)).clamp(0, 1e4).mul(discWeight)
        );
        total = rec.add(gan.mul(weight));
      }
      backward(total);
      update(decoder, rate);
      if (discWeight === 0) return;
      learn(parameters, true);
      const real = judge(signals), fake = judge(made.detach());
      backward(real.neg().add(1).relu().mean().add(fake.add(1).relu().mean()).mul(0.5));
      update(critic, rate);
    });
  }
  const rows = await table.floats();
  for (const one of [decoder, critic, table, ...parameters.values()]) one.dispose();
  return rows;
}

export async function draw(): Promise<Picture> {
  const sketch = await Sketch.of(1000, 262);
  const edges: Float32Array[] = [10, 11, 12, 13, 14, 15].map((place) => {
    return Float32Array.from({ length: WIDTH }, (_, x) => x < place ? -1 : 1);
  });
  const second = async (weight: number) => (await train(weight, 600)).subarray(WIDTH, 2 * WIDTH);
  const panels: [name: string, rows: Float32Array[], color: string][] = [
    ["six edges with one token", edges, palette.soft],
    ["drawn: squared error", [await second(0)], palette.blue],
    ["and a discriminator, 0.8", [await second(0.8)], palette.red],
    ["and a discriminator, 3", [await second(3)], palette.red],
  ];
  for (const [i, [name, rows, color]] of panels.entries()) {
    const left = 10 + 248 * i;
    sketch.text(name, left, 22, { bold: true });
    sketch.box(left, 34, 236, 220, palette.faint);
    for (const row of i === 0 ? edges : [...edges, ...rows]) {
      const points = [...row].map((v, x) => [left + 6 + 7.2 * x, 144 - 66 * v] as const);
      if (i > 0 && edges.includes(row)) sketch.line(points, palette.faint, 1);
      else sketch.line(points, color, i === 0 ? 1.5 : 2.5);
    }
  }
  return await sketch.render();
}
