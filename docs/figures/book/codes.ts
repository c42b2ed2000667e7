// Chapter 5: a codebook in two dimensions. Codes that start together mostly die; those that are restarted spread over all vectors.
import {
  adamStep,
  backward,
  codeColor,
  embedding,
  nearestCode,
  type Picture,
  Random,
  scope,
  type Tensor,
  tensor,
  zeros,
} from "../../../mod.ts";
import { palette, Sketch } from "./sketch.ts";

const CODES = 24, POINTS = 480, STEPS = 240;

/** Vectors on three arcs, as an encoder might make them. */
function vectors(): Tensor {
  const random = new Random(3), values: number[] = [];
  for (let i = 0; i < POINTS; i++) {
    const arc = i % 3, angle = 2.1 * arc + 1.7 * random.next(), radius = 1 + 0.5 * (random.next() - 0.5);
    values.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return tensor(values, [POINTS, 2]);
}

/** The codes after training, and for each vector the number of its code. With `restart`, unused ones move to vectors. */
async function train(z: Tensor, steps: number, restart: boolean): Promise<[Float32Array, Int32Array]> {
  const random = new Random(5), points = await z.floats();
  const codebook = random.uniform([CODES, 2], -0.15, 0.15),
    mean = zeros([CODES, 2]),
    square = zeros([CODES, 2]);
  codebook.requiresGrad = true;
  const nearest = () => nearestCode(z, codebook.detach());
  for (let step = 1; step <= steps; step++) {
    // the second term of equation (4): codes move towards the vectors that chose them
    scope(() => backward(embedding(nearest(), codebook).sub(z).square().mean()));
    adamStep(codebook, codebook.grad!, mean, square, { lr: 0.02, beta1: 0.5, beta2: 0.9, eps: 1e-8, step });
    codebook.grad!.dispose();
    codebook.grad = null;
    if (!restart || step % 20 !== 0 || step > 0.8 * steps) continue;
    const tokens = nearest(), used = new Set(await tokens.ints());
    tokens.dispose();
    for (let code = 0; code < CODES; code++) {
      const from = 2 * random.integer(POINTS);
      if (!used.has(code)) codebook.write(points.subarray(from, from + 2), 2 * code);
    }
  }
  const tokens = nearest(),
    result: [Float32Array, Int32Array] = [await codebook.floats(), await tokens.ints()];
  for (const t of [tokens, codebook, mean, square]) t.dispose();
  return result;
}

export async function draw(): Promise<Picture> {
  const sketch = await Sketch.of(990, 356), z = vectors(), points = await z.floats();
  const panels = [["at the start", 0, false], ["after 240 steps", STEPS, false], [
    "with restarts",
    STEPS,
    true,
  ]] as const;
  for (const [i, [name, steps, restart]] of panels.entries()) {
    const left = 10 + 330 * i, toX = (x: number) => left + 155 + 118 * x, toY = (y: number) => 195 - 118 * y;
    const [codes, tokens] = await train(z, steps, restart), used = new Set(tokens);
    sketch.text(`${name}: ${used.size} of ${CODES} codes in use`, left, 22, { bold: true });
    sketch.box(left, 34, 310, 312, palette.faint);
    for (let p = 0; p < POINTS; p++) {
      sketch.dot(toX(points[2 * p]), toY(points[2 * p + 1]), `rgb(${codeColor(tokens[p])})`, 2.5);
    }
    for (let code = 0; code < CODES; code++) {
      const x = toX(codes[2 * code]), y = toY(codes[2 * code + 1]);
      if (used.has(code)) {
        sketch.dot(x, y, "#fff", 8);
        sketch.dot(x, y, `rgb(${codeColor(code)})`, 6.5);
      } else {
        sketch.line([[x - 4, y - 4], [x + 4, y + 4]], palette.red, 1.5);
        sketch.line([[x - 4, y + 4], [x + 4, y - 4]], palette.red, 1.5);
      }
    }
  }
  z.dispose();
  return await sketch.render();
}
