// Deno's stand-in for `bun:test`: the import map sends that name here, so one suite runs in both runtimes.
// Only what the tests use: describe, test and hooks over node:test, and Jest's expect.
import { describe as nodeDescribe } from "node:test";

export { after as afterAll, afterEach, before as beforeAll, beforeEach, test } from "node:test";
export { expect } from "expect";

/** node:test passes over tests that are registered after an await, so a group must not be asynchronous. */
export function describe(name: string, group: () => void): void {
  nodeDescribe(name, () => {
    const result: unknown = group();
    if (result instanceof Promise) {
      throw new Error(`describe "${name}" is asynchronous: its tests would not run`);
    }
  });
}

/** node:test sets no limit. */
export function setDefaultTimeout(_milliseconds: number): void {}
