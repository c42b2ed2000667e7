// What moves the codes instead of Adam, which moves each code by itself if there is nothing else.
import type { Tensor } from "../../src/index.ts";
import type { Adam } from "../adam.ts";
import type { TrainState } from "../train_state.ts";

/** Something that moves the codes. What it keeps is saved with a run. A frozen codebook stays as it is. */
export interface CodeLearning extends TrainState {
  /** Called when the autoencoder's gradients are there, before its optimizer uses them. */
  beforeUpdate(optimizer: Adam): void;
  /** Called after a step, with the vectors [B, h, w, C] and the tokens [B, h, w] of each batch of this rank. */
  afterStep(latents: readonly Tensor[], indices: readonly Tensor[]): Promise<void>;
  /** Called when some codes were set to new values. */
  moved(codes: readonly number[]): Promise<void>;
}
