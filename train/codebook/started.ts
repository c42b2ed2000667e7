// The check of what a file says about a part of the training that begins with the first step.
import { check, flag, object } from "../../src/check.ts";

/** @throws TypeError if the values are not a record with the truth value `isStarted` */
export function checkStarted(values: unknown): Record<string, unknown> & { readonly isStarted: boolean } {
  check("the codebook's state", "it", values, object);
  const record = values as Record<string, unknown> & { readonly isStarted: boolean };
  check("the codebook's state", "isStarted", record.isStarted, flag);
  return record;
}
