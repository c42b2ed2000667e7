// Random calls of every kernel in watched memory (support/bounds.ts), in processes with and without the runtime's own bounds
// checks: a call that is wrong is refused before anything runs, no kernel writes outside its operands, results do not depend
// on the bytes around them, and no kernel reads further than every block's own padding. TESSERA_FUZZ=10000 sets the number of
// calls (default 240).
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import process from "node:process";
import { WIDE_FLAGS } from "../../../../src/backends/wasm/v8_flags.ts";
import type { Report } from "../../../support/bounds.ts";
import { outputOf, runScript } from "../../../support/own_process.ts";

const calls = Number(process.env.TESSERA_FUZZ ?? 240);
const seconds = 60 + calls / 5;
setDefaultTimeout(1000 * seconds);

const one = { TESSERA_THREADS: "1" };
const canBeWide = !process.versions.bun && process.arch === "x64";
/** Only optimized code is without checks and has vectors of 256 bits, so the baseline compiler is turned off. */
const unchecked = { ...one, DENO_V8_FLAGS: [...WIDE_FLAGS, "--no-liftoff"].join() };
/** The same kernels with checks, which V8 then turns on again: they are written in another way for vectors of 256 bits. */
const checked = { ...one, DENO_V8_FLAGS: [...WIDE_FLAGS, "--wasm-bounds-checks"].join() };

async function fuzz(env: object, ends: boolean): Promise<Report> {
  const words = [String(calls), ...ends ? ["ends"] : []];
  const report = JSON.parse((await outputOf("bounds.ts", words, env, seconds)).out) as Report;
  const { description, ends: atEnd, refused, accepted } = report;
  if (process.env.TESSERA_FUZZ) console.log(description, { calls, atEnd, refused, accepted });
  return report;
}

function expectSound(report: Report, ends: boolean): void {
  expect(report.faults).toEqual([]);
  expect(report.calls).toBe(calls);
  expect(report.refused).toBeGreaterThan(50 * calls);
  expect(report.accepted).toBeGreaterThan(calls / 2);
  if (ends) expect(report.ends).toBeGreaterThan(2 * calls);
}

// before the tests, which compare them
const plain = await fuzz(one, true);
const wide = canBeWide ? [await fuzz(unchecked, false), await fuzz(checked, true)] : [];

describe("random calls of every kernel touch only their operands", () => {
  test("with the runtime's bounds checks", () => expectSound(plain, true));

  const names = [
    "without bounds checks, with vectors of 256 bits, and have the same results",
    "with the kernels for 256 bits, and with bounds checks",
    "the flags do switch bounds checks off, and then kernels have all addresses of 32 bits for themselves",
  ];
  if (!canBeWide) {
    for (const name of names) test.skip(`${name}: only V8 on x64 has them`, () => {});
    return;
  }
  test(names[0], () => {
    expectSound(wide[0], false);
    expect(wide[0].hash).toBe(plain.hash);
  });

  test(names[1], () => {
    expectSound(wide[1], true);
    expect(wide[1].hash).toBe(plain.hash);
  });

  test(names[2], async () => {
    const error = "memory access out of bounds";
    expect((await runScript("bounds.ts", ["beyond"], checked)).err).toContain(error);
    // what happens instead is not defined: a number is read, or the system ends the process
    expect((await runScript("bounds.ts", ["beyond"], unchecked)).err).not.toContain(error);
    expect([plain, ...wide].map(({ memory }) => memory)).toEqual([2 ** 28, 2 ** 32, 2 ** 28]);
    expect([plain, ...wide].map(({ description }) => description)).toEqual(
      [128, 256, 256].map((bits) => `CPU, 1 thread, vectors of ${bits} bits`),
    );
  });
});
