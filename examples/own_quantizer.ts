// How to write your own quantizer, outside Tessera: FSQ (Mentzer et al. 2023, arXiv 2309.15505). Each number of a vector is
// bounded and rounded to one of a few levels, so that there is no codebook to learn and no code can die.
//   deno run -A examples/own_quantizer.ts      (or: bun examples/own_quantizer.ts)
// Expect a model with 240 codes that is trained for a few steps on noise, saved, and loaded with the same tokens.
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  asyncScope,
  Codebook,
  embedding,
  full,
  loadVQGAN,
  nearestCode,
  preset,
  type Quantized,
  Quantizer,
  type QuantizerKind,
  Random,
  registerQuantizer,
  saveWeights,
  scope,
  type Tensor,
  tensor,
  Trainer,
  VQGAN,
} from "../mod.ts";

/** Bounds each number of a vector, and takes the nearest point of a grid. */
class FiniteScalarQuantizer extends Quantizer {
  /** All points of the grid, under the key by which readers know the size of a codebook. They do not learn. */
  readonly embedding: Codebook;
  override readonly used = null;
  readonly #levels: readonly number[];

  constructor(levels: readonly number[]) {
    super();
    this.#levels = levels;
    const count = levels.reduce((product, n) => product * n, 1);
    const points = Array.from({ length: count }, (_, index) => {
      let rest = index;
      return levels.map((n) => {
        const level = rest % n;
        rest = (rest - level) / n;
        return (level - Math.floor(n / 2)) / Math.floor(n / 2);
      });
    });
    this.embedding = new Codebook(tensor(points.flat(), [count, levels.length]));
  }

  override get codebook(): Tensor {
    return this.embedding.weight;
  }

  /** The loss is 0, because there is nothing to learn. Gradients pass the rounding unchanged. */
  override call(z: Tensor): Quantized {
    return scope(() => {
      const bounded = this.comparable(z), indices = this.encode(z);
      const quantized = bounded.add(this.lookup(indices).sub(bounded.detach()));
      return { quantized, loss: full([], 0, z.backend), indices };
    });
  }

  /** From a little below the lowest level to a little above the highest one, smoothly. */
  override comparable(vectors: Tensor): Tensor {
    return scope(() => {
      const perLevel = (f: (n: number) => number) => tensor(this.#levels.map(f), [this.#levels.length]);
      const half = (n: number) => (n - 1) * 1.001 / 2, offset = (n: number) => n % 2 === 0 ? 0.5 : 0;
      const shifted = vectors.add(perLevel((n) => Math.atanh(offset(n) / half(n))));
      return shifted.tanh().mul(perLevel(half)).sub(perLevel(offset)).div(perLevel((n) => Math.floor(n / 2)));
    });
  }

  override encode(z: Tensor, among: Tensor | null = null): Tensor {
    return scope(() => {
      const rows = this.comparable(z.detach()).reshape(-1, this.#levels.length);
      const table = among ? embedding(among, this.codebook) : this.codebook;
      return nearestCode(rows, table).reshape(...z.shape.slice(0, -1));
    });
  }

  override lookup(indices: Tensor, among: Tensor | null = null): Tensor {
    return scope(() => embedding(indices, among ? embedding(among, this.codebook) : this.codebook));
  }
}

/** The kind, by which a model's config and its files name the quantizer. Its option is the number of levels of each number. */
export const fsq: QuantizerKind = {
  name: "fsq",
  trains: true,
  make({ quantizerOptions: { levels }, nEmbed, embedDim }) {
    const isList = Array.isArray(levels) && levels.every((n) => Number.isSafeInteger(n) && n >= 2);
    const product = isList ? levels.reduce((product, n) => product * n, 1) : 0;
    if (product !== nEmbed || (levels as number[]).length !== embedDim) {
      throw new Error(
        `fsq: quantizerOptions.levels must be ${embedDim} whole numbers >= 2 whose product is ${nEmbed}, the number of codes`,
      );
    }
    return new FiniteScalarQuantizer(levels as number[]);
  },
};

if (import.meta.main) {
  registerQuantizer(fsq);
  const levels = [8, 6, 5];
  const config = preset("faces", {
    quantizer: "fsq",
    quantizerOptions: { levels },
    nEmbed: 240,
    embedDim: 3,
    ddconfig: { ch: 32, chMult: [1, 1, 1], resolution: 32, attnResolutions: [8] },
    lossconfig: { perceptualWeight: 0, discNdf: 8, discStart: 100 },
  });
  const model = new VQGAN(config, new Random(1), { withLoss: true });
  const trainer = new Trainer(model, { learningRate: () => 1e-3 });
  await asyncScope(async () => {
    const images = new Random(2).uniform([2, 32, 32, 3], -1, 1);
    for (let step = 1; step <= 5; step++) {
      const { logs } = await trainer.trainStep([images]);
      console.log(`step ${step}: rec_loss ${(await logs["train/rec_loss"].item()).toFixed(4)}`);
    }
    const path = join(tmpdir(), "fsq.safetensors");
    await saveWeights(path, model);
    const { model: again } = await loadVQGAN(path);
    const [before, after] = [
      await model.encode(images).indices.ints(),
      await again.encode(images).indices.ints(),
    ];
    const same = before.every((token, i) => token === after[i]);
    console.log(
      `${new Set(before).size} of ${config.nEmbed} codes in ${before.length} tokens; loaded: ${
        same ? "the same" : "others"
      }`,
    );
    again.dispose();
  });
  trainer.dispose();
  model.dispose();
}
