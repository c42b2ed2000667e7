// Errors that a setting of the run can resolve. The message names the setting as the API does. `problem` is the message
// without that advice, for programs in which users choose the setting differently, such as the command line.

/** The model should be trained with a perceptual network, but there is none. */
export class MissingPerceptualError extends Error {
  /** "MissingPerceptualError" */
  override readonly name = "MissingPerceptualError";
  /** The message without the advice. */
  readonly problem: string;

  /** Appends the advice to `problem`. */
  constructor(problem: string) {
    super(
      `${problem}: pass the files with its weights (perceptual: [files]), or train without it, ` +
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
  /** The path of the checkpoint. */
  readonly path: string;

  /** Joins the path, the problem and the advice. */
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

  /** Appends the advice to `problem`. */
  constructor(problem: string) {
    super(`${problem}. A lower learning rate (lr) may help.`);
    this.problem = problem;
  }
}
