// Deno's stand-in for `bun:test`: the import map sends that name here, so one suite runs in both runtimes.
// Only what the tests use: describe, test, beforeEach, afterEach, afterAll over node:test, and Jest's expect.
export { after as afterAll, afterEach, before as beforeAll, beforeEach, describe, test } from "node:test";
export { expect } from "expect";
