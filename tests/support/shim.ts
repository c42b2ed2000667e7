// Replaces `bun:test` in Deno, by the import map, so that one suite runs in both runtimes. It has only what the tests use:
// describe, test and hooks based on node:test, and Jest's expect.
import { describe as nodeDescribe } from "node:test";

export { after as afterAll, afterEach, before as beforeAll, beforeEach, test } from "node:test";
export { expect } from "expect";

/** A group of tests. It must not be asynchronous, because node:test ignores tests that are registered after an await. */
export function describe(name: string, group: () => void): void {
  nodeDescribe(name, () => {
    const result: unknown = group();
    if (result instanceof Promise) {
      throw new Error(`describe "${name}" is asynchronous: its tests would not run`);
    }
  });
}

/** Does nothing, because node:test has no time limit. */
export function setDefaultTimeout(_milliseconds: number): void {}
