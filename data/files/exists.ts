// The error for a file that is there already and would be replaced.
import { printable } from "../formats/text.ts";

/** A file exists and is not replaced without being asked. */
export class FileExistsError extends Error {
  /** "FileExistsError" */
  override readonly name = "FileExistsError";
  /** The path of the file. */
  readonly path: string;
  /** The message without the way out. */
  readonly problem: string;

  /** Makes the message. @param what says more about the file, as the second half of a sentence */
  constructor(path: string, what = "it exists already") {
    const problem = printable(`${path}: ${what}`);
    super(`${problem}; choose another name, or replace it (replace: true)`);
    this.path = path;
    this.problem = problem;
  }
}
