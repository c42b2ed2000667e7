// What goes wrong between here and a server.

/** A checkpoint that could not be fetched. The message is one line: what is wrong, and what to do about it. */
export class RemoteError extends Error {
  /** "RemoteError" */
  override readonly name = "RemoteError";
  /** What is wrong, without what to do. */
  readonly problem: string;
  /** What to do. */
  readonly advice: string;
  /** Whether the same request may succeed a little later. */
  readonly isPassing: boolean;
  /** The status of an answer that says that the server is busy or broken. */
  readonly status: number | null;
  /** The seconds after which such a server wants to be asked again. */
  readonly retryAfter: number | null;
  /** Whether the server answered that what was asked for is not there. */
  readonly isMissing: boolean;

  constructor(
    problem: string,
    advice: string,
    { isPassing = false, status = null, retryAfter = null, isMissing = false, cause }: {
      readonly isPassing?: boolean;
      readonly status?: number | null;
      readonly retryAfter?: number | null;
      readonly isMissing?: boolean;
      readonly cause?: unknown;
    } = {},
  ) {
    super(`${problem}; ${advice}`, { cause });
    this.problem = problem;
    this.advice = advice;
    this.isPassing = isPassing;
    this.status = status;
    this.retryAfter = retryAfter;
    this.isMissing = isMissing;
  }
}
