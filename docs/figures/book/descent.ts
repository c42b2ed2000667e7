// Chapter 2: gradient descent on one number, with three learning rates. The gradients come from the tape.
import { backward, type Picture, Random, scope, tensor } from "../../../mod.ts";
import { palette, Sketch } from "./sketch.ts";

const x = new Random(1).uniform([50], -1, 1), y = x.mul(2);

/** The slopes that gradient descent visits, with the loss at each of them. */
async function descend(rate: number, steps: number): Promise<[slope: number, loss: number][]> {
  const slope = tensor([-1], [1], { requiresGrad: true }), path: [number, number][] = [];
  for (let step = 0; step <= steps; step++) {
    const loss = scope(() => x.mul(slope).sub(y).square().mean());
    path.push([await slope.item(), await loss.item()]);
    backward(loss);
    slope.write(Float32Array.of(path.at(-1)![0] - rate * await slope.grad!.item()));
    slope.grad!.dispose();
    slope.grad = null;
    loss.dispose();
  }
  slope.dispose();
  return path;
}

export async function draw(): Promise<Picture> {
  const sketch = await Sketch.of(960, 300), power = await x.square().mean().item();
  const panels = [[0.15, "rate 0.15: slow"], [1, "rate 1: quick"], [3.3, "rate 3.3: too large"]] as const;
  for (const [i, [rate, title]] of panels.entries()) {
    const left = 40 + 310 * i,
      toX = (a: number) => left + (a + 3) / 10 * 270,
      toY = (l: number) => 256 - l * 25;
    sketch.text(title, left + 4, 22, { bold: true });
    sketch.line([[left, 36], [left, 256], [left + 270, 256]], palette.soft, 1);
    const curve = Array.from({ length: 101 }, (_, k) => -3 + k / 10).map((a) =>
      [a, power * (a - 2) ** 2] as const
    );
    sketch.line(curve.filter(([, l]) => l < 8.5).map(([a, l]) => [toX(a), toY(l)]), palette.blue);
    const path = (await descend(rate, 7)).filter(([a, l]) => l < 8.5 && a > -3 && a < 7);
    sketch.line(path.map(([a, l]) => [toX(a), toY(l)]), palette.red, 1.5);
    for (const [a, l] of path) sketch.dot(toX(a), toY(l), palette.red);
    for (const a of [-2, 0, 2, 4, 6]) sketch.text(String(a), toX(a), 274, { size: 12, anchor: "middle" });
    sketch.text("slope", left + 135, 292, { size: 13, anchor: "middle" });
  }
  sketch.text("loss", 8, 32, { size: 13 });
  return await sketch.render();
}
