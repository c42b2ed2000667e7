// What an evaluation results in.
import type { Interval } from "./bootstrap.ts";
import type { Row } from "./observe.ts";
import type { WorstReconstruction } from "./worst.ts";

/** A Fréchet distance. */
export interface FrechetResult {
  /** "inception", "squeeze" or "face". */
  readonly space: string;
  /** The network and how pictures are prepared for it. */
  readonly words: string;
  /** NaN if there are fewer than two pictures. */
  readonly distance: number;
  /** How many pictures it is of. */
  readonly pictures: number;
  /** How many numbers a feature has. */
  readonly size: number;
  /** Whether there are too few pictures for a covariance of full rank, so that the distance is not that of many pictures. */
  readonly isDeficient: boolean;
}

/** How faces fared. */
export interface FaceResult {
  /** Pictures in whose original a face was found. */
  readonly found: number;
  /** Of these, how many have none in the reconstruction. */
  readonly lost: number;
  /** Of those found, how many are the same person. */
  readonly same: number;
  /** The median distance where both have a face; NaN if none has. */
  readonly median: number;
  /** For comparison: the mean distance of each original's face from that of the next picture; NaN if there are no two. */
  readonly strangers: number;
}

/** The results of one model. */
export interface ModelResult {
  /** As given. */
  readonly name: string;
  /** By the names of metrics: the means over the pictures and their intervals. */
  readonly metrics: Readonly<Record<string, Interval>>;
  /** null if faces were not measured. */
  readonly faces: FaceResult | null;
  /** The distances in all spaces. */
  readonly frechet: readonly FrechetResult[];
  /** The codes that were used for all tokens of all pictures. */
  readonly codebook: {
    readonly codes: number;
    readonly used: number;
    readonly usage: number;
    readonly perplexity: number;
    readonly tokens: number;
  };
  /** log2(codes) x tokens / pixels. */
  readonly bitsPerPixel: number;
  /** The numbers of each picture. */
  readonly rows: readonly Row[];
  /** The worst pictures, the worst first. */
  readonly worst: {
    /** The metric by which they are chosen. */
    readonly metric: string;
    readonly list: readonly WorstReconstruction[];
  };
}

/** The result of `evaluate`. */
export interface Evaluation {
  /** What was done, as pairs of a name and words. */
  readonly protocol: Readonly<Record<string, string>>;
  /** One for each model. */
  readonly models: readonly ModelResult[];
  /** For each model but the first: by the names of metrics, its mean less that of the first, over the same pictures. */
  readonly differences: readonly Readonly<Record<string, Interval>>[];
  /** The paths of the pictures, in the order of the rows. */
  readonly pictures: readonly string[];
  /** What to watch out for when reading the numbers. */
  readonly warnings: readonly string[];
}
