// Parsers for the values of options, and the error for incorrect use.
import { InvalidArgumentError, Option } from "commander";
import type { Shard } from "../data/pictures/shards.ts";

/** The option --precision of commands that compute. */
export const precisionOption = (): Option =>
  new Option("--precision <kind>", "how activations are stored; f16 halves their memory and needs a GPU")
    .choices(["f32", "f16"]).default("f32");

/** The option --resize of commands that read pictures. */
export const resizeOption = (): Option =>
  new Option(
    "--resize <kind>",
    "how pictures are decoded and shrunk; taming makes exactly the pixels of taming's own loader (no EXIF orientation, no " +
      "colour profile, opacity dropped, OpenCV's bilinear filter)",
  ).choices(["lanczos", "taming"]).default("lanczos");

/** Incorrect use of a command. It is reported in one line with exit code 2; other errors have exit code 1. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Makes a parser for whole numbers from `least` on. */
export function wholeNumber(least: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (text.trim() !== "" && Number.isSafeInteger(value) && value >= least) return value;
    throw new InvalidArgumentError(`expected a whole number >= ${least}`);
  };
}

/** Parses numbers above 0, such as 4.5e-6. */
export function positiveNumber(text: string): number {
  const value = Number(text);
  if (value > 0 && value < Infinity) return value;
  throw new InvalidArgumentError("expected a number above 0, such as 4.5e-6");
}

/** Parses numbers from 0 on. */
export function nonNegativeNumber(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value < Infinity) return value;
  throw new InvalidArgumentError("expected a number >= 0");
}

/** Parses numbers from 0 to below 1. */
export function fractionBelowOne(text: string): number {
  const value = Number(text);
  if (text.trim() !== "" && value >= 0 && value < 1) return value;
  throw new InvalidArgumentError("expected a number from 0 to below 1");
}

/** Parses lists of whole numbers, such as 1,2,2,4. */
export function wholeNumbers(text: string): number[] {
  return text.split(",").map((part) => {
    const value = Number(part);
    if (part.trim() !== "" && Number.isSafeInteger(value) && value >= 1) return value;
    throw new InvalidArgumentError("expected whole numbers separated by commas, such as 1,2,2,4");
  });
}

/** Parses fractions from 0 to below 1. Text that is not a number is returned as a path. */
export function fractionOrPath(text: string): string | number {
  const value = Number(text);
  if (text.trim() === "" || Number.isNaN(value)) return text;
  if (value >= 0 && value < 1) return value;
  throw new InvalidArgumentError("expected a folder, or a fraction from 0 to below 1");
}

/** Parses shards such as 2/8. */
export function shard(text: string): Shard {
  const [, part, of] = /^(\d+)\/(\d+)$/.exec(text)?.map(Number) ?? [];
  if (part >= 1 && part <= of) return { part, of };
  throw new InvalidArgumentError("expected part/parts, such as 1/8 to 8/8");
}

/** Some rows of a file, counted from 0. */
export interface Rows {
  has(row: number): boolean;
  /** The rows as they were given. */
  readonly text: string;
  /** The last one. */
  readonly last: number;
}

/** Parses rows such as 0,5,10-20. */
export function rows(text: string): Rows {
  const ranges = text.split(",").map((part) => {
    const [, from, to = from] = /^\s*(\d+)\s*(?:-\s*(\d+)\s*)?$/.exec(part)?.map((n) => n && Number(n)) ?? [];
    if (typeof from === "number" && typeof to === "number" && from <= to) return [from, to] as const;
    throw new InvalidArgumentError("expected rows counted from 0, such as 0,5,10-20");
  });
  return {
    has: (row) => ranges.some(([from, to]) => row >= from && row <= to),
    text,
    last: Math.max(...ranges.map(([, to]) => to)),
  };
}

export const rowsOption = (text: string): Option => new Option("--rows <rows>", text).argParser(rows);

/** @throws UsageError if there are not so many rows */
export function checkRows(rows: Rows | undefined, total: number, what: string): void {
  if (rows === undefined || rows.last < total) return;
  throw new UsageError(`--rows ${rows.text}: there are ${total} ${what}, 0 to ${total - 1}`);
}

export const forceOption = (text: string): Option => new Option("--force", text);

/** Formats a number with its noun: "1 picture", "2 pictures". */
export function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}
