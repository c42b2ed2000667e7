// Chapter 5: a codebook in two dimensions. Codes that start together mostly die; those that are restarted spread over all
// vectors.
import { codeColor, type Picture, Random } from "../../../mod.ts";
import { ToyQuantizer, type ToyState } from "../../../playground/toy/toy_quantizer.ts";
import { palette, Sketch } from "./sketch.ts";

const CODES = 24, POINTS = 480, STEPS = 240;

/** Vectors on three arcs, as an encoder might make them. */
function vectors(): Float32Array {
  const random = new Random(3), values: number[] = [];
  for (let i = 0; i < POINTS; i++) {
    const arc = i % 3, angle = 2.1 * arc + 1.7 * random.next(), radius = 1 + 0.5 * (random.next() - 0.5);
    values.push(radius * Math.cos(angle), radius * Math.sin(angle));
  }
  return Float32Array.from(values);
}

/** The state after training. With `restart`, unused codes move to vectors now and then. */
async function train(points: Float32Array, steps: number, restart: boolean): Promise<ToyState> {
  const random = new Random(5), start = random.uniform([CODES, 2], -0.15, 0.15);
  const toy = new ToyQuantizer(points, await start.floats(), random);
  for (let step = 1; step <= steps; step++) {
    toy.step(0.02);
    if (restart && step % 20 === 0 && step <= 0.8 * steps) await toy.restart();
  }
  const state = await toy.state();
  for (const each of [start, toy]) each.dispose();
  return state;
}

export async function draw(): Promise<Picture> {
  const sketch = await Sketch.of(990, 356), points = vectors();
  const panels = [["at the start", 0, false], ["after 240 steps", STEPS, false], [
    "with restarts",
    STEPS,
    true,
  ]] as const;
  for (const [i, [name, steps, restart]] of panels.entries()) {
    const left = 10 + 330 * i, toX = (x: number) => left + 155 + 118 * x, toY = (y: number) => 195 - 118 * y;
    const { codes, tokens } = await train(points, steps, restart), used = new Set(tokens);
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
  return await sketch.render();
}
