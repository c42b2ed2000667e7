// Compares what a reader found with what an oracle found, and counts the results of a fuzz test.
import type { StoredTensor } from "../../../data/index.ts";
import type { Found } from "./numbers.ts";

/** Lists the differences between the tensors of a reader and those of an oracle, one line each. */
export function differences(
  found: ReadonlyMap<string, StoredTensor>,
  values: ReadonlyMap<StoredTensor, ArrayLike<number | bigint>>,
  expected: ReadonlyMap<string, Found>,
): string[] {
  const names = new Set([...found.keys(), ...expected.keys()]);
  return [...names].flatMap((name) => {
    const own = found.get(name), right = expected.get(name);
    if (!own || !right) return [`${name} is only in ${own ? "the reader" : "the oracle"}`];
    if (`${own.shape}` !== `${right.shape}` || own.dtype !== right.dtype) {
      return [`${name} is ${own.dtype} [${own.shape}], the oracle has ${right.dtype} [${right.shape}]`];
    }
    const numbers = values.get(own)!;
    const i = right.values.findIndex((value, i) => !Object.is(numbers[i], value));
    return i < 0 ? [] : [`${name} has ${numbers[i]} at ${i}, the oracle ${right.values[i]}`];
  });
}

/** The results of many mutations. */
export class Verdicts {
  #refused = 0;
  #unjudged = 0;
  #right = 0;
  readonly #wrong: string[] = [];
  #seed = 0;

  /** Adds the next result: null for refused, the differences from the oracle, or that the oracle could not tell. */
  add(result: readonly string[] | "unjudged" | null): void {
    if (result === null) this.#refused++;
    else if (result === "unjudged") this.#unjudged++;
    else if (result.length === 0) this.#right++;
    else this.#wrong.push(`mutation ${this.#seed}: ${result.slice(0, 3).join("; ")}`);
    this.#seed++;
  }

  /** @throws if values were wrong, or if the test could not have noticed */
  check(name: string, mutations: number): void {
    const counts =
      `${this.#refused} refused, ${this.#right} as the oracle, ${this.#unjudged} without its word`;
    if (mutations >= 1000) {
      console.log(`${name}: ${mutations} mutations, ${counts}, ${this.#wrong.length} wrong`);
    }
    if (this.#wrong.length > 0) {
      throw new Error(
        `${name}: ${counts}, ${this.#wrong.length} wrong:\n${this.#wrong.slice(0, 10).join("\n")}`,
      );
    }
    if (this.#refused < mutations / 20 || this.#right < mutations / 200 || this.#unjudged > mutations / 10) {
      throw new Error(`${name}: the test is too weak: ${counts}`);
    }
  }
}
