// A codebook in two dimensions, small enough to watch: codes move towards the vectors that chose them, those that nobody
// chooses stay where they are, and a restart moves them onto vectors (chapter 5 of docs/book).
import {
  adamStep,
  asyncScope,
  backward,
  embedding,
  keep,
  nearestCode,
  noGrad,
  type Random,
  scope,
  type Tensor,
  tensor,
  zeros,
} from "../../core.ts";

/** Where the codes are, and who chose them. */
export interface ToyState {
  /** The steps so far. */
  readonly step: number;
  /** x and y of each code. */
  readonly codes: Float32Array;
  /** For each vector the code that is nearest to it. */
  readonly tokens: Int32Array;
  /** The mean squared distance of the vectors from their codes, as the loss has it: averaged over x and y. */
  readonly loss: number;
}

/** Vectors that stay where they are, and codes that learn. */
export class ToyQuantizer {
  readonly #vectors: Tensor;
  readonly #codebook: Tensor;
  /** Adam's averages of the gradient and of its square. */
  readonly #mean: Tensor;
  readonly #square: Tensor;
  readonly #random: Random;
  #step = 0;

  /**
   * @param vectors x and y of each vector @param codes x and y of each code at the start
   * @param random chooses the vectors onto which codes are moved
   */
  constructor(vectors: Float32Array, codes: Float32Array, random: Random) {
    const shape = [codes.length / 2, 2];
    this.#vectors = keep(tensor(vectors, [vectors.length / 2, 2]));
    this.#codebook = keep(tensor(codes, shape, { requiresGrad: true }));
    this.#mean = keep(zeros(shape));
    this.#square = keep(zeros(shape));
    this.#random = random;
  }

  /** Moves the codes by one step of Adam on the codebook's term of the loss: the second one of equation (4). */
  step(lr: number): void {
    const codebook = this.#codebook;
    scope(() => {
      const chosen = embedding(this.#nearest(), codebook); // codes that nobody chose are not in it, and get a gradient of 0
      backward(chosen.sub(this.#vectors).square().mean());
    });
    this.#step++;
    const adam = { lr, beta1: 0.5, beta2: 0.9, eps: 1e-8, step: this.#step };
    adamStep(codebook, codebook.grad!, this.#mean, this.#square, adam);
    codebook.grad!.dispose();
    codebook.grad = null;
  }

  /** Moves the codes that nobody chooses onto vectors. @returns which they are */
  async restart(): Promise<number[]> {
    const { tokens } = await this.state(), used = new Set(tokens), moved: number[] = [];
    const vectors = await this.#vectors.floats(), order = this.#random.shuffle(vectors.length / 2);
    for (let code = 0; 2 * code < this.#codebook.size && moved.length < order.length; code++) {
      if (used.has(code)) continue;
      const from = 2 * order[moved.length];
      this.#codebook.write(vectors.slice(from, from + 2), 2 * code);
      for (const average of [this.#mean, this.#square]) average.write(new Float32Array(2), 2 * code);
      moved.push(code);
    }
    return moved;
  }

  async state(): Promise<ToyState> {
    return await asyncScope(async () => {
      const nearest = this.#nearest();
      const loss = noGrad(() => embedding(nearest, this.#codebook).sub(this.#vectors).square().mean());
      return {
        step: this.#step,
        codes: await this.#codebook.floats(),
        tokens: await nearest.ints(),
        loss: await loss.item(),
      };
    });
  }

  /** Frees everything. */
  dispose(): void {
    for (const t of [this.#vectors, this.#codebook, this.#mean, this.#square]) t.dispose();
  }

  #nearest(): Tensor {
    return nearestCode(this.#vectors, this.#codebook.detach());
  }
}
