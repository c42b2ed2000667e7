// Error messages for the command line. The library's messages name the settings of its API. Where such a setting is the
// way out of an error, the message printed here names the option instead.
import type { Option } from "commander";
import { SeveralModelsError } from "../data/formats/find_model.ts";
import { systemMessage } from "../data/files/system_errors.ts";
import { ExpansionError, FileExistsError, StartTokenError } from "../data/index.ts";
import { OutOfMemoryError } from "../src/index.ts";
import {
  BatchTooLargeError,
  DivergedError,
  GuardError,
  MissingPerceptualError,
  MissingPicturesError,
  NotResumableError,
  SettingError,
} from "../train/index.ts";
import { inApi } from "../train/errors.ts";

/** Returns what to print for an error that ended a command. @param options those of the command */
export function inWordsOfOptions(error: unknown, options: readonly Option[] = []): string {
  if (error instanceof SettingError) {
    return error.inWords((setting, value) => {
      const flag = options.find((option) => option.attributeName() === setting)?.long;
      if (!flag) return inApi(setting, value);
      return value === undefined ? flag : `${flag} ${value}`;
    });
  }
  if (error instanceof MissingPerceptualError) {
    return `${error.problem}: give its weights with --lpips FILES, or train without it (blurrier) with --no-lpips`;
  }
  if (error instanceof SeveralModelsError) {
    const { path, problem, choices } = error;
    return `${path}: ${problem}; take one out: tessera convert ${path} one.safetensors --inside ${
      choices[0]
    }`;
  }
  if (error instanceof MissingPicturesError) {
    return `${error.problem}. If the pictures of the run were moved, say where they are with --data and --val`;
  }
  if (error instanceof NotResumableError) {
    return `${error.problem}: start a new run with --from ${error.path}`;
  }
  if (error instanceof BatchTooLargeError) {
    const { problem, fits, accumulate, shape: { precision } } = error;
    return fits > 0
      ? `${problem}, a batch of ${fits} fits (--batch ${fits}, with --accumulate ${accumulate} for the same step)`
      : `${problem}, not even one picture fits: use a smaller --size${
        precision === "f32" ? ", or --precision f16" : ""
      }`;
  }
  if (error instanceof FileExistsError) {
    return `${error.problem}; choose another name, or replace it with --force`;
  }
  if (error instanceof StartTokenError) return `${error.problem}; read it with --dalle-mini`;
  if (error instanceof ExpansionError) return `${error.problem}; add --force if that is what you want`;
  if (error instanceof OutOfMemoryError) return error.problem; // without the advice on scopes
  if (error instanceof GuardError) {
    const { problem, saved, good } = error;
    return `${problem}. Training stopped${
      saved === null ? "" : `, and step ${saved} is saved`
    }. The last good checkpoint is ` +
      `${good}: begin a new run from it with --from, and with a lower --disc-weight or --lr`;
  }
  if (error instanceof DivergedError) return `${error.problem}. A lower --lr may help.`;
  return systemMessage(error) ?? messageOf(error);
}

/** Returns the message of an error, or of any other thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
