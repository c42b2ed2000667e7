// Errors whose way out is a setting of the run. The message names the setting as the API does; `problem` is the message
// without that advice, for callers whose users set it in another way, such as the command line.

/** The model is to be trained with a perceptual network, and there is none. */
export class MissingPerceptualError extends Error {
  /** "MissingPerceptualError" */
  override readonly name = "MissingPerceptualError";
  /** The message without the advice. */
  readonly problem: string;

  /** Adds the advice. */
  constructor(problem: string) {
    super(
      `${problem}: give the files with its weights (perceptual: [files]), or train without it, ` +
        'which is blurrier (perceptual: "none")',
    );
    this.problem = problem;
  }
}

/** A checkpoint has usable weights, but its training cannot be continued. */
export class NotResumableError extends Error {
  /** "NotResumableError" */
  override readonly name = "NotResumableError";
  /** The message without the advice. */
  readonly problem: string;
  /** The checkpoint. */
  readonly path: string;

  /** Adds the path and the advice. */
  constructor(path: string, problem: string) {
    super(`${path} ${problem}: begin a new run with start: { from: ${JSON.stringify(path)} }`);
    this.problem = `${path} ${problem}`;
    this.path = path;
  }
}

/** A loss or a weight is no longer a finite number. */
export class DivergedError extends Error {
  /** "DivergedError" */
  override readonly name = "DivergedError";
  /** The message without the advice. */
  readonly problem: string;

  /** Adds the advice. */
  constructor(problem: string) {
    super(`${problem}. A lower learning rate (lr) may help.`);
    this.problem = problem;
  }
}
