// What to do when the memory does not suffice for a training step: the batch size that would fit.
import { OutOfMemoryError } from "../src/index.ts";
import type { StepMemory, StepShape } from "./count.ts";

/** The memory that is taken for each byte of tensors: packed filters, partial sums, and blocks that are a little too large. */
export const overhead = 1.15;

/** A training step needs more memory than there is. The fields give the batch size that would fit. */
export class BatchTooLargeError extends Error {
  /** "BatchTooLargeError" */
  override readonly name = "BatchTooLargeError";
  /** The step that was requested. */
  readonly shape: StepShape;
  /** The memory that it takes, in bytes, approximately. */
  readonly bytes: number;
  /** The largest batch that fits; 0 if not even one picture fits. */
  readonly fits: number;
  /** How many batches of that size make a step with as many pictures; 0 if none fits. */
  readonly accumulate: number;
  /** The message without the advice. */
  readonly problem: string;

  /** Builds the message from all the numbers. */
  constructor(cause: OutOfMemoryError, shape: StepShape, bytes: number, fits: number, accumulate: number) {
    const { batch, height, width, precision } = shape;
    const megabytes = Math.round(bytes / 1e6);
    const problem = `${cause.problem}; a step on ${batch} of ${height}x${width} takes about ${megabytes} MB`;
    const advice = fits > 0
      ? `a batch of ${fits} fits (batch: ${fits}, with accumulate: ${accumulate} for the same step)`
      : `not even one picture fits: use a smaller size${precision === "f32" ? ', or precision: "f16"' : ""}`;
    super(`${problem}, ${advice}`, { cause });
    this.problem = problem;
    this.shape = shape;
    this.bytes = bytes;
    this.fits = fits;
    this.accumulate = accumulate;
  }
}

/**
 * Returns the error to throw in place of `error`: if memory ran out, one that names the batch size that would fit.
 * @param count counts a step of another batch size
 * @param accumulate the number of batches in the step that failed
 */
export async function withAdvice(
  error: unknown,
  shape: StepShape,
  count: (shape: StepShape) => Promise<StepMemory>,
  accumulate = 1,
): Promise<unknown> {
  if (!(error instanceof OutOfMemoryError)) return error;
  const { total = Infinity, largest = Infinity } = error;
  const fits = async (batch: number) => {
    const need = await count({ ...shape, batch });
    return need.peak * overhead <= total && need.largest <= largest;
  };
  let batch = shape.batch - 1;
  while (batch > 0 && !await fits(batch)) batch--;
  const bytes = (await count(shape)).peak * overhead;
  const pictures = shape.batch * accumulate;
  return new BatchTooLargeError(error, shape, bytes, batch, batch > 0 ? Math.ceil(pictures / batch) : 0);
}
