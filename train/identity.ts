// The identity loss: how far the face of a reconstruction is from that of its original, as the face network sees it, and how
// much less it looks like a face. The face is found and aligned once, in the original, and both pictures are looked at there.
import type { PixelRange } from "../data/pictures/picture.ts";
import type { Face, FaceNetwork } from "../nn/index.ts";
import { beside } from "../nn/resample.ts";
import { check, positive, type Rule, rule } from "../src/check.ts";
import { full, log, noGrad, relu, scope, type Tensor } from "../src/index.ts";

/** The loss on one batch of originals. */
export interface IdentityTerm {
  /** By how much it counts. */
  readonly weight: number;
  /** The loss of reconstructions of these originals, a tensor of one number. @param made [B, H, W, 3] */
  call(made: Tensor): Tensor;
}

/**
 * sum over the faces of |e(original) - e(reconstruction)|^2 + max(0, log s(original) - log s(reconstruction)), divided by B: e
 * has the 128 numbers of a face, s is the detector's score from 0 to 1, and B pictures are in the batch. Pictures without a
 * face add nothing. The first part is 0.36 where all are just about the same person. The second is at most 0.69 while a face is
 * still found; without it, training loses faces to the detector (docs/evaluate.md).
 *
 * @example With `Trainer`
 * ```ts
 * import { IdentityLoss, loadFaceNetwork, Trainer, VQGAN } from "@tessera/vqgan";
 *
 * const model = await VQGAN.load("last.ckpt", { withLoss: true });
 * const identity = new IdentityLoss(await loadFaceNetwork(), 0.1, model.range);
 * const trainer = new Trainer(model, { learningRate: () => 4.5e-6, identity });
 * ```
 */
export class IdentityLoss {
  /** The network that finds and describes faces. */
  readonly network: FaceNetwork;
  /** By how much the loss counts beside the reconstruction loss. */
  readonly weight: number;
  readonly #range: PixelRange;

  /** A loss that owns the network. @param range of the model's pixels @throws TypeError if the weight is not above 0 */
  constructor(network: FaceNetwork, weight: number, range: PixelRange = "signed") {
    check("IdentityLoss", "the weight", weight, positive);
    this.network = network;
    this.weight = weight;
    this.#range = range;
  }

  /** Finds the faces of originals. The tensors in the result belong to the surrounding scope. @param images [B, H, W, 3] */
  async of(images: Tensor): Promise<IdentityTerm> {
    return this.termOf(images, await this.network.find(images, this.#range));
  }

  /**
   * The loss on originals whose faces are known.
   * @param images [B, H, W, 3] @param faces one for each picture, as `FaceNetwork.find` returns them
   */
  termOf(images: Tensor, faces: readonly (Face | null)[]): IdentityTerm {
    const { network, weight } = this, range = this.#range, count = images.shape[0];
    if (faces.every((face) => face === null)) {
      return { weight, call: (made) => full([], 0, made.backend) };
    }
    const wanted = noGrad(() => network.embed(images, faces, range));
    const found = faces.flatMap((face) => face === null ? [] : [face.score]);
    return {
      weight,
      call: (made) =>
        scope(() => {
          const distance = network.embed(made, faces, range).sub(wanted).square().sum();
          // a score that is 0 in f32 would make the logarithm infinite
          const scores = network.scores(made, faces, range).add(1e-12);
          const lost = relu(log(beside(scores, found, [found.length]).div(scores))).sum();
          return distance.add(lost).mul(1 / count);
        }),
    };
  }

  /** Frees the network. */
  dispose(): void {
    this.network.dispose();
  }
}

/** The same loss on a device that only counts, on which no face is found: each picture counts as one. */
export class CountedIdentity extends IdentityLoss {
  /** Takes a copy of the network to the current device. */
  constructor({ network, weight }: IdentityLoss) {
    super(network.copy(), weight);
  }

  /** Looks for faces, and takes the whole pictures for them. */
  override async of(images: Tensor): Promise<IdentityTerm> {
    await this.network.find(images);
    const [count, height, width] = images.shape, box = { x: 0, y: 0, width, height };
    return this.termOf(
      images,
      Array<Face>(count).fill({ score: 1, box, anchor: 0, landmarks: [], aligned: box }),
    );
  }
}

/** The rules of an `IdentityLoss` and of its term as options. */
export const anIdentity: Rule = rule("an IdentityLoss", (value) => value instanceof IdentityLoss);
export const aTerm: Rule = rule(
  "a term, as IdentityLoss.of() returns it",
  (value) => typeof (value as IdentityTerm)?.call === "function",
);
