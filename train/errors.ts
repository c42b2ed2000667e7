// Errors that a setting of the run can resolve. The message names the setting as the API does. `problem` is the message
// without that advice, for programs in which users choose the setting differently, such as the command line.

/** Writes a setting and perhaps its value as somebody would choose it, such as `accumulate: 2` in the API. */
export type SettingInWords = (setting: string, value?: string | number) => string;

/** A setting as it is in the API. */
export const inApi: SettingInWords = (setting, value) =>
  value === undefined ? setting : `${setting}: ${JSON.stringify(value)}`;

/** Something is wrong with settings, which each interface names in its own way. */
export class SettingError extends Error {
  /** "SettingError" */
  override readonly name = "SettingError";
  readonly #text: (word: SettingInWords) => string;

  /** Makes the error. @param text returns the message, in which it names settings by `word` */
  constructor(text: (word: SettingInWords) => string) {
    super(text(inApi));
    this.#text = text;
  }

  /** The message in which `word` names the settings. */
  inWords(word: SettingInWords): string {
    return this.#text(word);
  }
}

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
  /** What is not finite, and since which step. */
  readonly what: string;
  /** The message without the advice. */
  readonly problem: string;

  /** Appends the advice. @param what such as "step 3: rec_loss is NaN" @param kept which checkpoint there still is */
  constructor(what: string, kept: string) {
    const problem = `${what}, so training stopped; ${kept}`;
    super(`${problem}. A lower learning rate (lr) may help.`);
    this.what = what;
    this.problem = problem;
  }
}

/** A guarded run has stopped, because its losses jump whatever the GAN counts. It is saved, and so is its last good step. */
export class GuardError extends Error {
  /** "GuardError" */
  override readonly name = "GuardError";
  /** The message without the advice. */
  readonly problem: string;
  /** The last step that is saved; null if none is. */
  readonly saved: number | null;
  /** The path of the last good checkpoint. */
  readonly good: string;

  /** Appends the advice to `problem`. */
  constructor(problem: string, saved: number | null, good: string) {
    super(
      `${problem}. Training stopped${
        saved === null ? "" : `, and step ${saved} is saved`
      }. The last good checkpoint is ${good}: begin a new run from it, ` +
        "with a lower learning rate (lr) or a gentler GAN (gan)",
    );
    this.problem = problem;
    this.saved = saved;
    this.good = good;
  }
}

/** The pictures of a run that is resumed are not where they were. */
export class MissingPicturesError extends Error {
  /** "MissingPicturesError" */
  override readonly name = "MissingPicturesError";
  /** The message without the advice. */
  readonly problem: string;

  /** Appends the advice to `problem`. */
  constructor(problem: string) {
    super(
      `${problem}. If the pictures of the run were moved, say where they are: data: [folder], or val for those for validation`,
    );
    this.problem = problem;
  }
}

/** The folder of a run belongs to another process. */
export class RunInUseError extends Error {
  /** "RunInUseError" */
  override readonly name = "RunInUseError";
  /** The folder of the run. */
  readonly folder: string;

  /** Names the process. @param doubt what to do if that process has ended, as another sentence */
  constructor(folder: string, process: string, doubt: string) {
    super(`${folder} is in use: ${process} trains this run${doubt}`);
    this.folder = folder;
  }
}

/** Another process has taken the folder of a run from this one, which therefore writes nothing any more. */
export class RunTakenError extends Error {
  /** "RunTakenError" */
  override readonly name = "RunTakenError";
  /** The folder of the run. */
  readonly folder: string;

  /** Names the process. */
  constructor(folder: string, process: string) {
    super(`${folder} was taken over by ${process}, so this process stops and writes nothing more`);
    this.folder = folder;
  }
}

/** A run has ended, and its last step could not be written. */
export class NotSavedError extends Error {
  /** "NotSavedError" */
  override readonly name = "NotSavedError";
  /** The step that was not saved. */
  readonly step: number;
  /** The step of the last checkpoint on the disk; null if there is none. */
  readonly saved: number | null;

  /** Says what is lost. @param checkpoint the path of the last checkpoint */
  constructor(step: number, saved: number | null, reason: string, checkpoint: string) {
    const kept = saved === null
      ? "Nothing was saved"
      : `${checkpoint} is of step ${saved}, and what came after is lost`;
    super(`step ${step} could not be saved: ${reason}. ${kept}`);
    this.step = step;
    this.saved = saved;
  }
}
