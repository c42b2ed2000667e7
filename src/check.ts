// Checks of arguments when the program runs, because Bun and Node strip the types without checking them, and JavaScript has
// none. Each record of options has a table of rules, and the compiler reports an option without a rule.

/** What a value must be: in words for the message, and as a test. */
export interface Rule {
  readonly what: string;
  readonly accepts: (value: unknown) => boolean;
  /** Whether the value may not be left out. */
  readonly isNeeded?: boolean;
}

/** A rule for each field of a record. */
export type Rules<T> = { readonly [K in keyof T]-?: Rule };

/** Makes a rule. */
export const rule = (what: string, accepts: (value: unknown) => boolean): Rule => ({ what, accepts });

export const isNumber = (value: unknown): value is number => typeof value === "number";

/** Whether it is an array. Returns a plain boolean, because `Array.isArray` would lose the type of a readonly array. */
export const isList = (value: unknown): boolean => Array.isArray(value);

/** Whether it is a whole number from 0 on. */
export const isWhole = (value: unknown): value is number =>
  Number.isSafeInteger(value) && (value as number) >= 0;

/** A whole number from `least` on. */
export const whole = (least: number): Rule =>
  rule(`a whole number >= ${least}`, (value) => Number.isSafeInteger(value) && Number(value) >= least);

/** A number above 0. */
export const positive: Rule = rule("a number above 0", (n) => isNumber(n) && n > 0 && n < Infinity);

/** A number from 0 on. */
export const notNegative: Rule = rule("a number >= 0", (n) => isNumber(n) && n >= 0 && n < Infinity);

/** Any number except NaN and the infinities. */
export const finite: Rule = rule("a number", Number.isFinite);

/** A number from 0 to just below 1. */
export const fraction: Rule = rule("a number from 0 to below 1", (n) => isNumber(n) && n >= 0 && n < 1);

export const flag: Rule = rule("true or false", (value) => typeof value === "boolean");

export const text: Rule = rule("a string", (value) => typeof value === "string");

export const callback: Rule = rule("a function", (value) => typeof value === "function");

/** An AbortSignal, or an object that works like one. */
export const aSignal: Rule = rule(
  "an AbortSignal",
  (value) => typeof value === "object" && value !== null && "aborted" in value,
);

/** One of a few values. */
export const oneOf = (...values: readonly (string | number)[]): Rule =>
  rule(list(values.map(shown), "or"), (value) => values.includes(value as string));

/** A record that has rules of its own. */
export const object: Rule = rule(
  "an object",
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
);

/** A list of strings. */
export const texts: Rule = rule(
  "a list of strings",
  (value) => Array.isArray(value) && value.every((s) => typeof s === "string"),
);

/** null, or what another rule accepts. */
export const orNull = ({ what, accepts }: Rule): Rule =>
  rule(`${what}, or null`, (value) => value === null || accepts(value));

/** The same rule for a value that must be given. */
export const needed = (rule: Rule): Rule => ({ ...rule, isNeeded: true });

/** A dtype. */
export const storedAs: Rule = oneOf("f32", "f16", "i32");

/** @throws naming the value and what it should be, for example "softmax: scale is 0, expected a number above 0" */
export function check(who: string, name: string, value: unknown, { what, accepts }: Rule): void {
  if (!accepts(value)) throw new TypeError(`${who}: ${name} is ${shown(value)}, expected ${what}`);
}

/**
 * Checks a record of options: each has the right value, and none is misspelt.
 * @param who the name that begins the message: the function or the class, for example "conv2d"
 * @throws TypeError naming the option, its value, and what it should be
 */
export function checkOptions<T extends object>(who: string, options: T, rules: Rules<T>): void {
  if (!object.accepts(options)) {
    throw new TypeError(`${who}: the options are ${shown(options)}, expected an object such as {}`);
  }
  checkNames(who, options, rules);
  checkValues(who, options, rules);
}

/** Checks the values of a record that may have fields beside those of the rules. @throws TypeError as `checkOptions` does */
export function checkValues<T extends object>(who: string, options: T, rules: Rules<T>): void {
  for (const [name, rule] of Object.entries<Rule>(rules)) {
    const value = (options as Record<string, unknown>)[name];
    if (value !== undefined || rule.isNeeded) check(who, name, value, rule);
  }
}

/** Checks only that no name is misspelt. @throws TypeError with the names that exist */
export function checkNames(who: string, options: object, rules: object): void {
  for (const name of Object.keys(options)) {
    if (Object.hasOwn(rules, name)) continue;
    throw new TypeError(`${who}: there is no option ${shown(name)}, use ${list(Object.keys(rules), "or")}`);
  }
}

/** A value as it appears in a message, shortened if it is long. */
export function shown(value: unknown): string {
  if (typeof value === "string") {
    return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  }
  if (typeof value === "function") return `the function ${value.name || "(...) => ..."}`;
  if (typeof value !== "object" || value === null) {
    return typeof value === "bigint" ? `${value}n` : `${value}`;
  }
  const kind = Object.getPrototypeOf(value)?.constructor?.name ?? "Object";
  const isList = Array.isArray(value) || ArrayBuffer.isView(value);
  if (isList && "length" in value) {
    const items = Array.from(value as ArrayLike<unknown>).slice(0, 6).map((item) => shown(item).slice(0, 30));
    if ((value as ArrayLike<unknown>).length > 6) items.push("...");
    return `${Array.isArray(value) ? "" : `${kind} `}[${items.join(", ")}]`;
  }
  const { toString } = value;
  if (typeof toString === "function" && toString !== Object.prototype.toString) return String(value);
  if (kind !== "Object") return `a ${kind}`;
  return `{ ${Object.keys(value).slice(0, 6).join(", ")} }`;
}

/** "a, b or c" */
function list(words: readonly string[], joint: string): string {
  return words.length < 2 ? words.join("") : `${words.slice(0, -1).join(", ")} ${joint} ${words.at(-1)}`;
}
