// The notebook of chapter 5: `deno task notebooks 5-codebook` makes 5-codebook.ipynb of this file.

// %% [markdown]
/*
# 5. The codebook

*Round each vector to the nearest one in a table, and pass the gradient through unchanged.* This notebook
belongs to [chapter 5](../book/5-codebook.md). You will watch codes move, die and be brought back, and then
exchange the tokens of two faces.
*/

// %%
import {
  Adam,
  backward,
  codeColor,
  concat,
  cropPicture,
  embedding,
  nearestCode,
  type Picture,
} from "../../mod.ts";
import { plotCurves, Random, readImage, scope, tensor, toFloats, tokenGrid, VQGAN } from "../../mod.ts";
import { palette, Sketch } from "../figures/book/sketch.ts";

/** How many codes are in use, in effect: e to the power of the entropy of their shares. */
function perplexity(tokens: Int32Array): number {
  const counts = new Map<number, number>();
  for (const token of tokens) counts.set(token, (counts.get(token) ?? 0) + 1);
  const shares = [...counts.values()].map((count) => count / tokens.length);
  return Math.exp(-shares.reduce((sum, share) => sum + share * Math.log(share), 0));
}

console.log("one code alone", perplexity(Int32Array.of(3, 3, 3, 3)));
console.log("four codes, equally often", perplexity(Int32Array.of(1, 2, 3, 4)).toFixed(2));

// %% [markdown]
/*
## Watch codes move and die

Vectors of two numbers can be drawn: here are 400 in four clouds, as an encoder might make them. Sixteen codes
start close together in the middle. In each step, each vector chooses its nearest code, and the loss pulls
codes towards the vectors that chose them. Dots have the colour of their code, discs are codes, and red
crosses are codes that no vector chooses. The picture moves while the cell runs. Expect a handful of codes to
run off towards the clouds, and the others to stay where they are: nobody chooses them, so nothing pulls them.
The perplexity ends near 5.
*/

// %%
const codes = 16, random = new Random(4);
const clouds = [[-1, -0.8], [1, -0.9], [0.9, 0.8], [-0.8, 0.9]];
const points = Array.from({ length: 400 }, (_, i) => clouds[i % 4].map((c) => c + 0.22 * random.gaussian()));
const vectors = tensor(points.flat(), [400, 2]);

async function drawCodes(codebook: Float32Array, tokens: Int32Array, title: string): Promise<Picture> {
  const sketch = await Sketch.of(420, 420), used = new Set(tokens);
  const at = (x: number, y: number) => [210 + 115 * x, 222 - 115 * y] as const;
  for (const [i, [x, y]] of points.entries()) sketch.dot(...at(x, y), `rgb(${codeColor(tokens[i])})`, 2.5);
  for (let code = 0; code < codes; code++) {
    const [x, y] = at(codebook[2 * code], codebook[2 * code + 1]);
    if (used.has(code)) {
      sketch.dot(x, y, "#fff", 9);
      sketch.dot(x, y, `rgb(${codeColor(code)})`, 7);
    } else {
      sketch.line([[x - 5, y - 5], [x + 5, y + 5]], palette.red);
      sketch.line([[x - 5, y + 5], [x + 5, y - 5]], palette.red);
    }
  }
  sketch.text(title, 10, 20, { bold: true });
  return await sketch.render();
}

/** Trains a codebook. With `restart`, codes that nobody chose in 20 steps jump onto a vector. Returns the perplexities. */
async function train(name: string, restart: boolean, start = 0.15, steps = 200): Promise<number[]> {
  const random = new Random(5), codebook = random.uniform([codes, 2], -start, start), history: number[] = [];
  codebook.requiresGrad = true;
  const adam = new Adam(new Map([["codebook", codebook]]), { lr: 0.02 });
  const lastUse = new Int32Array(codes);
  for (let step = 0; step <= steps; step++) {
    const tokens = await scope(() => nearestCode(vectors, codebook.detach())).ints();
    for (const token of tokens) lastUse[token] = step;
    history.push(perplexity(tokens));
    if (step % 20 === 0) {
      const title = `step ${step}: perplexity ${history[step].toFixed(1)} of ${codes}`;
      const picture = await drawCodes(await codebook.floats(), tokens, title);
      await Deno.jupyter.display(picture, { display_id: name, update: step > 0 });
    }
    scope(() => backward(embedding(tensor(tokens), codebook).sub(vectors).square().mean()));
    adam.step();
    adam.zeroGrad();
    for (let code = 0; restart && code < codes; code++) {
      if (step - lastUse[code] < 20) continue;
      codebook.write(Float32Array.from(points[random.integer(points.length)]), 2 * code);
      lastUse[code] = step;
    }
  }
  return history;
}

const alone = await train("alone", false);

// %% [markdown]
/*
## Bring them back

The remedy is blunt: a code that nobody chose in 20 steps jumps onto a vector of the batch, and so is the
nearest code of at least that one. Expect all 16 codes to share the clouds among them, and the perplexity to
end near 14.
*/

// %%
const restarted = await train("restarted", true);
const curve = (name: string, values: number[]) => ({ name, steps: values.map((_, i) => i), values });
const series = [curve("alone", alone), curve("with restarts", restarted)];
await plotCurves([{ title: "Perplexity", series }], { width: 640, height: 320, smoothing: 0 });

// %% [markdown]
/*
## Tokens of a face

The small model turns a face of 128×128 into 16×16 tokens, numbers of 16,384 codes. Each colour stands for
a code, so equal colours are equal tokens. Hardly any code appears twice: expect 254 different ones among the
256 tokens, and a perplexity of 253.
*/

// %%
const model = await VQGAN.load("../../models/faces.safetensors"), side = model.config.ddconfig.resolution;
const sheet = await readImage("../face.png"); // the picture of the README, with two synthetic faces
const faces = [4, 400].map((left) => {
  return tensor(toFloats(cropPicture(sheet, left, 32, side, side).pixels), [1, side, side, 3]);
});
const tokens = await Promise.all(faces.map((face) => model.encode(face).indices.ints()));
console.log(`${new Set(tokens[0]).size} different codes, perplexity ${perplexity(tokens[0]).toFixed(0)}`);
await tokenGrid(tokens[0], [16, 16], { tile: 20 });

// %% [markdown]
/*
## Experiment: paint with tokens

Put a rectangle of the second face's tokens into the first one. In the rows below: both faces as the model
draws them, and the mixture. Expect a band of another skin with eyes where eyes belong, and no hard border:
the decoder has learnt how tiles go together, and smooths the seam.
*/

// %%
const isInside = (row: number, column: number) => row >= 7 && row < 10 && column >= 3 && column < 13;
const mixed = tokens[0].map((token, i) => isInside(Math.floor(i / 16), i % 16) ? tokens[1][i] : token);
concat([tokens[0], tokens[1], mixed].map((each) => model.decodeTokens(tensor(each, [1, 16, 16]))), 0);

// %% [markdown]
/*
And how much does one token matter? Replace the token in the middle of the forehead by another code, and look
at where the picture changes. Expect about 40 % of the change in the tile itself and its eight neighbours.
*/

// %%
const place = 4 * 16 + 8, changed = tokens[0].slice();
changed[place] = tokens[0][8 * 16 + 5]; // a token from an eye
const [before, after] = [tokens[0], changed].map((each) => model.decodeTokens(tensor(each, [1, 16, 16])));
const change = await after.sub(before).abs().sum(3).floats();
let near = 0;
for (const [i, value] of change.entries()) {
  const [row, column] = [Math.floor(i / side / 8), Math.floor(i % side / 8)];
  if (Math.abs(row - 4) <= 1 && Math.abs(column - 8) <= 1) near += value;
}
console.log(`${Math.round(100 * near / change.reduce((a, b) => a + b))} % of the change within 3x3 tiles`);
after.sub(before).mul(4);

// %% [markdown]
/*
## Try next

- Spread the codes from the beginning: `await train("spread", false, 1.5)`. How many die now?
- Fill the whole picture with one token: `tokens[0].map(() => 17)`. What does a code look like when it is
  among copies of itself?
- Move the rectangle to the mouth (rows 11 to 13), or swap only every second token.

[Chapter 5](../book/5-codebook.md) · [All notebooks](README.md) · next: [LPIPS](6-lpips.ipynb)
*/
